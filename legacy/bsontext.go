package legacy

import (
	"encoding/hex"
	"errors"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// appendBSON appends a BSON value as a field of a kind, and the tab behind it. order is that of the bytes of legacy UUIDs.
func appendBSON(line []byte, v bson.RawValue, k kind, order string) ([]byte, error) {
	if v.Type == 0 || v.Type == bson.TypeNull || v.Type == bson.TypeUndefined {
		return appendNull(line), nil
	}
	if k == kindJSON {
		return appendBSONObject(line, v)
	}
	switch v.Type {
	case bson.TypeString:
		return appendField(line, v.StringValue()), nil
	case bson.TypeSymbol:
		return appendField(line, v.Symbol()), nil
	case bson.TypeInt32:
		return append(strconv.AppendInt(line, int64(v.Int32()), 10), '\t'), nil
	case bson.TypeInt64:
		return append(strconv.AppendInt(line, v.Int64(), 10), '\t'), nil
	case bson.TypeDouble:
		return append(appendFloat(line, v.Double()), '\t'), nil
	case bson.TypeDecimal128:
		return appendField(line, v.Decimal128().String()), nil
	case bson.TypeBoolean:
		return append(strconv.AppendBool(line, v.Boolean()), '\t'), nil
	case bson.TypeObjectID:
		return appendField(line, v.ObjectID().Hex()), nil
	case bson.TypeDateTime:
		return append(appendTime(line, v.Time(), k), '\t'), nil
	case bson.TypeTimestamp:
		seconds, _ := v.Timestamp()
		return append(appendTime(line, time.Unix(int64(seconds), 0), k), '\t'), nil
	case bson.TypeBinary:
		subtype, data := v.Binary()
		switch {
		case k == kindBytes:
			return appendBytea(line, data), nil
		case subtype == bson.TypeBinaryUUIDOld && len(data) == len(uuid.UUID{}):
			id, err := legacyUUID(data, order)
			if err != nil {
				return line, err
			}
			return appendField(line, id.String()), nil
		case (subtype == bson.TypeBinaryUUID || k == kindUUID) && len(data) == len(uuid.UUID{}):
			return appendField(line, uuid.UUID(data).String()), nil
		case k == kindUUID:
			return appendField(line, hex.EncodeToString(data)), nil // PostgreSQL refuses it
		}
		return appendField(line, data), nil
	}
	return appendBSONObject(line, v)
}

// The orders in which drivers wrote UUIDs before they agreed on one.
const (
	uuidJava     = "java"
	uuidCSharp   = "csharp"
	uuidPython   = "python"
	uuidStandard = "standard"
)

// legacyUUID is a UUID of the binary subtype 3, whose bytes say nothing of their order.
func legacyUUID(data []byte, order string) (id uuid.UUID, err error) {
	copy(id[:], data)
	switch order {
	case uuidJava:
		slices.Reverse(id[:8])
		slices.Reverse(id[8:])
	case uuidCSharp:
		slices.Reverse(id[:4])
		slices.Reverse(id[4:6])
		slices.Reverse(id[6:8])
	case uuidPython, uuidStandard:
	default:
		return id, errors.New("it has a UUID of the binary subtype 3, whose byte order the mapping's source has to name: uuid: java, csharp, python or standard")
	}
	return id, nil
}

// appendFloat appends a number as PostgreSQL reads it; a whole one without exponent, which fits an integer's column too.
func appendFloat(line []byte, f float64) []byte {
	switch {
	case math.IsInf(f, 1):
		return append(line, "Infinity"...)
	case math.IsInf(f, -1):
		return append(line, "-Infinity"...)
	case math.Abs(f) < 1e18:
		return strconv.AppendFloat(line, f, 'f', -1, 64)
	}
	return strconv.AppendFloat(line, f, 'g', -1, 64)
}

// appendTime appends a moment: in UTC where the kind has no time zone.
func appendTime(line []byte, t time.Time, k kind) []byte {
	switch t = t.UTC(); k {
	case kindDate:
		return t.AppendFormat(line, "2006-01-02")
	case kindTime:
		return t.AppendFormat(line, "15:04:05.999")
	case kindTimestamp:
		return t.AppendFormat(line, "2006-01-02 15:04:05.999")
	case kindInstant:
		return t.AppendFormat(line, "2006-01-02 15:04:05.999+00")
	}
	return t.AppendFormat(line, time.RFC3339Nano)
}

// appendBSONObject appends a value as JSON, with Extended JSON for what JSON does not have.
func appendBSONObject(line []byte, v bson.RawValue) ([]byte, error) {
	doc, err := bson.MarshalExtJSON(bson.D{{Key: "", Value: v}}, false, false)
	if err != nil {
		return line, err
	}
	return appendField(line, doc[len(`{"":`):len(doc)-1]), nil
}

// appendExtendedJSON appends a value that is written in Extended JSON, such as {"$date": ...}. What only looks like it
// is passed on as JSON.
func appendExtendedJSON(line, value []byte, k kind, order string) ([]byte, error) {
	wrapped := append(append([]byte(`{"":`), value...), '}')
	var doc bson.Raw
	if err := bson.UnmarshalExtJSON(wrapped, false, &doc); err != nil {
		return appendField(line, value), nil
	}
	return appendBSON(line, doc.Lookup(""), k, order)
}
