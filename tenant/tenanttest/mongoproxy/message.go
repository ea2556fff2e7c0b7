package mongoproxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/wiremessage"
)

// MongoDB's own limit for a message.
const maxMessage = 48_000_000

var errBroken = errors.New("broken message")

func readMessage(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	size := binary.LittleEndian.Uint32(head[:])
	if size < 16 || size > maxMessage {
		return nil, fmt.Errorf("%w: %d bytes", errBroken, size)
	}
	raw := make([]byte, size)
	copy(raw, head[:])
	_, err := io.ReadFull(r, raw[4:])
	return raw, err
}

// request is a message of the client, read.
type request struct {
	cmd    Command
	id     int32
	silent bool // the client waits for no reply
}

func parseRequest(raw []byte) (request, error) {
	_, id, _, op, rest, ok := wiremessage.ReadHeader(raw)
	if !ok {
		return request{}, errBroken
	}
	r := request{id: id}
	var body bson.D
	switch op {
	case opQuery:
		ns, doc, err := readQuery(rest)
		if err != nil {
			return request{}, err
		}
		r.cmd.DB, _, _ = strings.Cut(ns, ".")
		if err := bson.Unmarshal(doc, &body); err != nil {
			return request{}, err
		}
	case wiremessage.OpMsg:
		flags, rest, ok := wiremessage.ReadMsgFlags(rest)
		if !ok {
			return request{}, errBroken
		}
		r.silent = flags&wiremessage.MoreToCome != 0
		if flags&wiremessage.ChecksumPresent != 0 {
			rest = rest[:len(rest)-4]
		}
		var err error
		if body, err = readSections(rest); err != nil {
			return request{}, err
		}
	default:
		return request{}, fmt.Errorf("%w: %s", errBroken, op)
	}
	if len(body) == 0 {
		return request{}, errBroken
	}
	r.cmd.Name = body[0].Key
	for _, e := range body {
		if e.Key == "$db" {
			r.cmd.DB, _ = e.Value.(string)
		}
	}
	var err error
	r.cmd.Body, err = bson.Marshal(body)
	return r, err
}

// opQuery is the old message that a driver still greets a server with.
const opQuery wiremessage.OpCode = 2004

// readQuery takes the namespace and the document out of one: flags, namespace, two numbers, document.
func readQuery(b []byte) (ns string, doc []byte, err error) {
	if len(b) < 4 {
		return "", nil, errBroken
	}
	name, rest, found := bytes.Cut(b[4:], []byte{0})
	if !found || len(rest) < 8 {
		return "", nil, errBroken
	}
	d, _, ok := bsoncore.ReadDocument(rest[8:])
	if !ok {
		return "", nil, errBroken
	}
	return string(name), d, nil
}

// readSections puts the document sequences of a message into the body they belong to.
func readSections(rest []byte) (bson.D, error) {
	var body, sequences bson.D
	for len(rest) > 0 {
		kind, next, ok := wiremessage.ReadMsgSectionType(rest)
		if !ok {
			return nil, errBroken
		}
		switch kind {
		case wiremessage.SingleDocument:
			doc, after, ok := wiremessage.ReadMsgSectionSingleDocument(next)
			if !ok {
				return nil, errBroken
			}
			if err := bson.Unmarshal(doc, &body); err != nil {
				return nil, err
			}
			rest = after
		case wiremessage.DocumentSequence:
			name, docs, after, ok := wiremessage.ReadMsgSectionDocumentSequence(next)
			if !ok {
				return nil, errBroken
			}
			list := bson.A{}
			for _, d := range docs {
				list = append(list, bson.Raw(d))
			}
			sequences = append(sequences, bson.E{Key: name, Value: list})
			rest = after
		default:
			return nil, errBroken
		}
	}
	return append(body, sequences...), nil
}

// answer is the message that carries doc back to the client.
func (r request) answer(doc bson.D) ([]byte, error) {
	body, err := bson.Marshal(doc)
	if err != nil {
		return nil, err
	}
	return opMsg(wiremessage.NextRequestID(), r.id, body), nil
}

func opMsg(id, to int32, body []byte) []byte {
	i, b := wiremessage.AppendHeaderStart(nil, id, to, wiremessage.OpMsg)
	b = wiremessage.AppendMsgFlags(b, 0)
	b = wiremessage.AppendMsgSectionType(b, wiremessage.SingleDocument)
	b = append(b, body...)
	return bsoncore.UpdateLength(b, i, int32(len(b))) //nolint:gosec // bounded by maxMessage
}

// editReply changes the document in a server's reply.
func editReply(raw []byte, edit func(bson.D) bson.D) ([]byte, error) {
	_, id, to, op, rest, ok := wiremessage.ReadHeader(raw)
	if !ok {
		return nil, errBroken
	}
	var doc bson.D
	switch op {
	case wiremessage.OpReply:
		_, rest, _ = wiremessage.ReadReplyFlags(rest)
		_, rest, _ = wiremessage.ReadReplyCursorID(rest)
		_, rest, _ = wiremessage.ReadReplyStartingFrom(rest)
		_, rest, _ = wiremessage.ReadReplyNumberReturned(rest)
		d, _, ok := wiremessage.ReadReplyDocument(rest)
		if !ok {
			return nil, errBroken
		}
		if err := bson.Unmarshal(d, &doc); err != nil {
			return nil, err
		}
		body, err := bson.Marshal(edit(doc))
		if err != nil {
			return nil, err
		}
		i, b := wiremessage.AppendHeaderStart(nil, id, to, wiremessage.OpReply)
		b = wiremessage.AppendReplyFlags(b, 0)
		b = wiremessage.AppendReplyCursorID(b, 0)
		b = wiremessage.AppendReplyStartingFrom(b, 0)
		b = wiremessage.AppendReplyNumberReturned(b, 1)
		b = append(b, body...)
		return bsoncore.UpdateLength(b, i, int32(len(b))), nil //nolint:gosec // bounded by maxMessage
	case wiremessage.OpMsg:
		_, rest, ok := wiremessage.ReadMsgFlags(rest)
		if !ok {
			return nil, errBroken
		}
		doc, err := readSections(rest)
		if err != nil {
			return nil, err
		}
		body, err := bson.Marshal(edit(doc))
		if err != nil {
			return nil, err
		}
		return opMsg(id, to, body), nil
	}
	return nil, fmt.Errorf("%w: %s", errBroken, op)
}
