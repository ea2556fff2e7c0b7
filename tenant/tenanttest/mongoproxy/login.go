package mongoproxy

import (
	"errors"
	"slices"
	"strings"

	"github.com/xdg-go/scram"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// The user with every right of a proxy that checks logins.
const (
	rootUser     = "root"
	rootPassword = "root-secret"
)

// CheckLogins keeps users, lets in who knows a password alone, and everybody no further than readWrite on the databases
// that the user has as roles; URL is that of a user with every right from then on.
func (p *Proxy) CheckLogins() {
	p.KeepUsers()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.users.logins = true
	p.users.known["admin."+rootUser] = User{Name: rootUser, DB: "admin", Password: rootPassword}
	p.url = strings.Replace(p.url, "mongodb://", "mongodb://"+rootUser+":"+rootPassword+"@", 1) + "&authSource=admin"
	p.hello = func(d bson.D) bson.D { return Set(d, "saslSupportedMechs", bson.A{"SCRAM-SHA-256"}) }
}

// session is what one connection is logged in as.
type session struct {
	user string // "database.name"; empty for nobody
	next string // who it is about to be
	talk *scram.ServerConversation
}

// open are the commands that ask for no login.
var open = []string{"ping", "endSessions", "buildInfo", "connectionStatus", "logout"}

// about are the commands on users, which no tenant's user may run.
var about = []string{"usersInfo", "createUser", "updateUser", "dropUser", "grantRolesToUser", "killAllSessions"}

// guard logs in, and refuses what the connection's user may not do; nil where the command is to be passed on.
func (u *users) guard(s *session, c Command) bson.D {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case !u.logins:
		return nil
	case c.Name == "saslStart" || c.Name == "saslContinue":
		return u.login(s, c)
	case slices.Contains(open, c.Name) || u.operator(s.user):
		return nil
	case s.user == "":
		return Refusal(13, "Unauthorized", "Command "+c.Name+" requires authentication")
	}
	var databases []string
	for _, role := range u.known[s.user].Roles {
		fields, _ := role.(bson.D) // a role that is a name alone is of the user's own database
		for _, e := range fields {
			if e.Key == "db" {
				databases = append(databases, e.Value.(string))
			}
		}
	}
	switch {
	case c.Name == "listDatabases":
		names := bson.A{}
		for _, db := range databases {
			names = append(names, bson.D{{Key: "name", Value: db}})
		}
		return append(bson.D{{Key: "databases", Value: names}}, done()...)
	case !slices.Contains(databases, c.DB) || slices.Contains(about, c.Name):
		return Refusal(13, "Unauthorized", "not authorized on "+c.DB+" to execute command")
	}
	return nil
}

// operator tells whether somebody is root or was given rights over all databases.
func (u *users) operator(user string) bool {
	return user == "admin."+rootUser ||
		strings.HasPrefix(user, "admin.") && slices.Contains(u.known[user].Roles, any("readWriteAnyDatabase"))
}

func (u *users) login(s *session, c Command) bson.D {
	failed := Refusal(18, "AuthenticationFailed", "Authentication failed.")
	if c.Name == "saslStart" {
		server, err := scram.SHA256.NewServer(func(name string) (scram.StoredCredentials, error) {
			user, known := u.known[c.DB+"."+name]
			if !known {
				return scram.StoredCredentials{}, errors.New("no such user")
			}
			client, err := scram.SHA256.NewClient(name, user.Password, "")
			if err != nil {
				return scram.StoredCredentials{}, err
			}
			s.next = c.DB + "." + name
			return client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "salt of the proxy", Iters: 4096})
		})
		if err != nil {
			return failed
		}
		s.talk = server.NewConversation()
	}
	_, payload, _ := c.Body.Lookup("payload").BinaryOK()
	reply, err := s.talk.Step(string(payload))
	if err != nil {
		return failed
	}
	if s.talk.Valid() {
		s.user = s.next
	}
	return append(bson.D{{Key: "conversationId", Value: int32(1)}, {Key: "done", Value: s.talk.Done()}, {Key: "payload", Value: []byte(reply)}}, done()...)
}
