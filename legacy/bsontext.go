package legacy

import (
	"encoding/hex"
	"math"
	"strconv"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// appendBSON appends a BSON value as a field of a kind, and the tab behind it.
func appendBSON(line []byte, v bson.RawValue, k kind) ([]byte, error) {
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
		case subtype == bson.TypeBinaryUUID || subtype == bson.TypeBinaryUUIDOld || k == kindUUID:
			return appendField(line, hex.EncodeToString(data)), nil
		}
		return appendField(line, data), nil
	}
	return appendBSONObject(line, v)
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
func appendExtendedJSON(line, value []byte, k kind) ([]byte, error) {
	wrapped := append(append([]byte(`{"":`), value...), '}')
	var doc bson.Raw
	if err := bson.UnmarshalExtJSON(wrapped, false, &doc); err != nil {
		return appendField(line, value), nil
	}
	return appendBSON(line, doc.Lookup(""), k)
}
