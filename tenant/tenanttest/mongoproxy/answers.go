package mongoproxy

import (
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// What servers answer that keep users otherwise, or give the client no right to.
var (
	AtlasRefuses   = Refusal(8000, "AtlasError", "CMD_NOT_ALLOWED: command is not allowed on this cluster")
	NotAuthorized  = Refusal(13, "Unauthorized", "not authorized on admin to execute command")
	NoSuchCommand  = Refusal(59, "CommandNotFound", "no such command")
	NotSupported   = Refusal(115, "CommandNotSupported", "Command is not supported.")
	NotForDatabase = Refusal(2, "BadValue", "Unsupported value specified for db. Only 'admin' is allowed.")
)

// What a replica set answers while its primary changes or stops.
var (
	NotPrimary    = Refusal(10107, "NotWritablePrimary", "not primary")
	SteppedDown   = Refusal(189, "PrimarySteppedDown", "Not primary while running command")
	ShuttingDown  = Refusal(91, "ShutdownInProgress", "The server is in quiesce mode and will shut down")
	StateChanging = Refusal(11602, "InterruptedDueToReplStateChange", "operation was interrupted")
)

// What a server answers to an index that is there already in another form, and where a reply does not fit into a
// document.
var (
	IndexOptionsConflict  = Refusal(85, "IndexOptionsConflict", "An equivalent index already exists")
	IndexKeySpecsConflict = Refusal(86, "IndexKeySpecsConflict", "An existing index has the same name")
	ReplyTooLarge         = Refusal(10334, "BSONObjectTooLarge", "BSONObj size: 16793617 (0x1004011) is invalid.")
)

// NotReplicated is the reply to a write that the primary did and the majority did not confirm.
func NotReplicated(code int32, name, message string) bson.D {
	return append(bson.D{{Key: "n", Value: int32(1)}}, append(done(), bson.E{Key: "writeConcernError", Value: bson.D{
		{Key: "code", Value: code}, {Key: "codeName", Value: name}, {Key: "errmsg", Value: message},
	}})...)
}

// Refuse answers some commands so from now on, and starts to count at 1 again.
func (p *Proxy) Refuse(with bson.D, commands ...string) {
	p.Intercept(func(c Command) Action {
		if slices.Contains(commands, c.Name) {
			return Action{Reply: with}
		}
		return Action{}
	})
}

// Counts tells how often each command was sent since the last call of Intercept or Refuse, without logins and pings.
func (p *Proxy) Counts() map[string]int {
	counts := map[string]int{}
	for _, c := range p.Commands() {
		if c.N > 0 {
			counts[c.Name]++
		}
	}
	return counts
}

// Version makes the server show itself as MongoDB of a version.
func (p *Proxy) Version(version string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.version = version
}

// Moment is the time that a ReplicaSet reads at.
var Moment = bson.Timestamp{T: 1_700_000_000, I: 3}

// ReplicaSet makes the server show itself as the primary of one, which reads at a Moment from wire version 13 on.
func (p *Proxy) ReplicaSet(name string, wire int32) {
	host := p.listener.Addr().String()
	p.edit(func(d bson.D) bson.D {
		for _, e := range (bson.D{
			{Key: "setName", Value: name},
			{Key: "setVersion", Value: int32(1)},
			{Key: "hosts", Value: bson.A{host}},
			{Key: "primary", Value: host},
			{Key: "me", Value: host},
			{Key: "secondary", Value: false},
			{Key: "maxWireVersion", Value: wire},
			{Key: "electionId", Value: bson.ObjectID{0x7f, 0xff, 0xff, 0xff, 11: 1}},
		}) {
			d = Set(d, e.Key, e.Value)
		}
		return d
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.snapshots = wire >= 13
}

// Router makes the server show itself as the mongos of a sharded cluster.
func (p *Proxy) Router(wire int32) {
	p.edit(func(d bson.D) bson.D { return Set(Set(d, "msg", "isdbgrid"), "maxWireVersion", wire) })
}

// edit adds to what changes the greeting.
func (p *Proxy) edit(then func(bson.D) bson.D) {
	p.mu.Lock()
	defer p.mu.Unlock()
	first := p.hello
	p.hello = func(d bson.D) bson.D {
		if first != nil {
			d = first(d)
		}
		return then(d)
	}
}

// atMoment reads at the moment that is given, or tells the client one; any other moment is unknown.
func atMoment(c Command) Action {
	concern, ok := c.Body.Lookup("readConcern").DocumentOK()
	if level, _ := concern.Lookup("level").StringValueOK(); !ok || level != "snapshot" {
		return Action{}
	}
	if t, i, given := concern.Lookup("atClusterTime").TimestampOK(); given && (t != Moment.T || i != Moment.I) {
		return Action{Reply: Refusal(246, "SnapshotUnavailable", "Read timestamp is not available")}
	}
	return Action{
		Body: without(c.Body, "readConcern"),
		Edit: func(reply bson.D) bson.D {
			for i, e := range reply {
				if cursor, ok := e.Value.(bson.D); ok && e.Key == "cursor" {
					reply[i].Value = append(cursor, bson.E{Key: "atClusterTime", Value: Moment})
				}
			}
			return reply
		},
	}
}

// without is a command without some of its fields.
func without(body bson.Raw, fields ...string) bson.D {
	var d bson.D
	if err := bson.Unmarshal(body, &d); err != nil {
		return nil
	}
	return slices.DeleteFunc(d, func(e bson.E) bool { return slices.Contains(fields, e.Key) })
}

// namespace is the collection that a command is on; empty where its first value names none.
func (c Command) namespace() string {
	name, _ := c.Body.Lookup(c.Name).StringValueOK()
	if name == "" || strings.Contains(c.Name, "User") {
		return ""
	}
	return c.DB + "." + name
}
