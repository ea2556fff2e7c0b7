package nosql

import (
	"crypto/sha1" // mongodump's own rule for long names
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/url"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/tenantctl/tenantctl/tenant"
)

// What mongodump's folder of one database looks like: for each collection a file with its definition in Extended JSON,
// and one with its documents, one behind the other. We escape more in names than it does, which mongorestore undoes alike.
const (
	partFolder       = "mongodb/"
	definitionSuffix = ".metadata.json"
	rowsSuffix       = ".bson"
	bucketPrefix     = "system.buckets." // the collection behind a time series

	maxDocument   = 16 << 20 // bytes, MongoDB's own limit
	maxDefinition = 16 << 20 // bytes
)

// The values of definition.Type.
const (
	typeCollection = "collection"
	typeView       = "view"
	typeTimeseries = "timeseries"
)

// definition is a collection, view or time series without its rows, as a metadata file holds it.
type definition struct {
	Options bson.D   `bson:"options,omitempty"`
	Indexes []bson.D `bson:"indexes"`
	UUID    string   `bson:"uuid,omitempty"` // in hex
	Name    string   `bson:"collectionName"`
	Type    string   `bson:"type,omitempty"`

	bucketless bool // a time series of MongoDB 8.3 or newer, whose documents as they are stored are read with rawData
}

// rows is the collection that holds the documents as they are stored; empty for a view.
func (d definition) rows() string {
	switch d.Type {
	case typeView:
		return ""
	case typeTimeseries:
		if !d.bucketless {
			return bucketPrefix + d.Name
		}
	}
	return d.Name
}

// encode is the content of the metadata file.
func (d definition) encode() ([]byte, error) {
	if d.Indexes == nil {
		d.Indexes = []bson.D{} // mongorestore takes no null
	}
	return bson.MarshalExtJSON(d, true, false)
}

// decodeDefinition reads a metadata file of any mongodump; stem is the file's name, which old ones have in place of
// collectionName.
func decodeDefinition(data []byte, stem string) (definition, error) {
	var d definition
	if err := bson.UnmarshalExtJSON(data, false, &d); err != nil {
		return d, err
	}
	if d.Name == "" {
		name, err := url.PathUnescape(stem)
		if err != nil {
			return d, err
		}
		d.Name = name
	}
	switch {
	case d.Type != "":
	case lookup(d.Options, "timeseries") != nil:
		d.Type = typeTimeseries
	case lookup(d.Options, "viewOn") != nil:
		d.Type = typeView
	default:
		d.Type = typeCollection
	}
	if d.Type != typeCollection && d.Type != typeView && d.Type != typeTimeseries {
		return d, fmt.Errorf("%q is no type of collection", d.Type)
	}
	for _, x := range d.Indexes {
		if _, ok := lookup(x, "key").(bson.D); !ok {
			return d, fmt.Errorf("an index without keys")
		}
	}
	return d, nil
}

// fileStem is the name of a collection's files before the suffix: percent-escaped, and a name that would be too long
// for a file system is cut and ends in its hash, as mongodump does it.
func fileStem(collection string) string {
	const (
		longest = 238
		kept    = 208
	)
	var b strings.Builder
	for i := range len(collection) {
		c := collection[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', (c == '-' || c == '.') && i > 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	stem := b.String()
	if len(stem) <= longest {
		return stem
	}
	sum := sha1.Sum([]byte(collection))
	return stem[:kept] + "%24" + base64.RawURLEncoding.EncodeToString(sum[:])
}

// framer cuts the bytes of a part into its documents, of which it holds one at most.
type framer struct {
	part string
	take func(bson.Raw) error // must not keep what it is given
	held []byte               // of a document that is not whole yet
	at   int64                // where the next document begins, in bytes
}

func (f *framer) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		if len(f.held) == 0 { // the usual way: a document that is whole, without a copy
			n, err := f.length(rest)
			if err != nil {
				return 0, err
			}
			if n > 0 && n <= len(rest) {
				if err := f.one(rest[:n]); err != nil {
					return 0, err
				}
				rest = rest[n:]
				continue
			}
		}
		n, err := f.length(f.held)
		if err != nil {
			return 0, err
		}
		if n == 0 {
			n = 4 // the length itself comes first
		}
		more := min(n-len(f.held), len(rest))
		f.held = append(f.held, rest[:more]...)
		rest = rest[more:]
		if n, err = f.length(f.held); err != nil {
			return 0, err
		}
		if n > 0 && n == len(f.held) {
			if err := f.one(f.held); err != nil {
				return 0, err
			}
			f.held = f.held[:0]
		}
	}
	return len(p), nil
}

// length is what a document says of its own, in bytes; 0 where too little of it is known.
func (f *framer) length(doc []byte) (int, error) {
	if len(doc) < 4 {
		return 0, nil
	}
	n := int32(binary.LittleEndian.Uint32(doc)) // signed in BSON
	switch {
	case n < 5:
		return 0, f.broken(fmt.Sprintf("says that it is %d bytes long", n))
	case n > maxDocument:
		return 0, f.broken(fmt.Sprintf("says that it is %d bytes long; MongoDB takes 16 MiB", n))
	}
	return int(n), nil
}

func (f *framer) one(doc bson.Raw) error {
	if err := doc.Validate(); err != nil {
		return f.broken("is no BSON: " + innermost(err))
	}
	f.at += int64(len(doc))
	return f.take(doc)
}

// end refuses a document that was cut.
func (f *framer) end() error {
	if len(f.held) > 0 {
		return f.broken(fmt.Sprintf("is cut after %d bytes", len(f.held)))
	}
	return nil
}

func (f *framer) broken(why string) error {
	return partRefused(f.part, "the document at byte %d %s", f.at, why)
}

// partRefused says what is wrong with a part.
func partRefused(part, format string, args ...any) error {
	return refused(tenant.ErrInvalid, "use another backup, or the file that it was made from", "part %s: %s", part, fmt.Sprintf(format, args...))
}
