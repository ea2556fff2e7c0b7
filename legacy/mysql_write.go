package legacy

import (
	"bytes"
	"database/sql"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// How a value is written.
const (
	writeText = iota
	writeHex
	writePlainHex
	writeBool
	writeFloat
	writeBits
	writeBitBool
	writeUTC
)

// writing chooses how the values of a field are written, by their type in a result.
func (b *mysqlSelect) writing(result *sql.ColumnType, f field) int {
	k, c := f.kind, b.column(f)
	switch typ := strings.TrimPrefix(result.DatabaseTypeName(), "UNSIGNED "); {
	case k == kindBytes:
		return writeHex
	case typ == "BIT" && k == kindBool:
		return writeBitBool
	case typ == "BIT":
		return writeBits
	case k == kindBool && slices.Contains([]string{"TINYINT", "SMALLINT", "MEDIUMINT", "INT", "BIGINT", "DECIMAL", "DOUBLE", "FLOAT"}, typ):
		return writeBool
	case typ == "DOUBLE" || typ == "FLOAT":
		return writeFloat
	case k == kindUUID && (typ == "BINARY" || typ == "VARBINARY"):
		return writePlainHex
	case k == kindInstant && (typ == "TIMESTAMP" || typ == "DATETIME" || c != nil && (c.kind == kindInstant || c.kind == kindTimestamp)):
		// The connection's time zone is UTC.
		return writeUTC
	}
	return writeText
}

func appendMySQL(line, value []byte, writing int) []byte {
	if value == nil {
		return appendNull(line)
	}
	switch writing {
	case writeHex:
		return appendBytea(line, value)
	case writePlainHex:
		for _, c := range value {
			line = append(line, hexDigits[c>>4], hexDigits[c&15])
		}
		return append(line, '\t')
	case writeBool:
		switch string(value) {
		case "0":
			return append(line, 'f', '\t')
		case "1":
			return append(line, 't', '\t')
		}
		return appendField(line, value) // the target refuses it
	case writeBitBool:
		if bytes.ContainsFunc(value, func(r rune) bool { return r != 0 }) {
			return append(line, 't', '\t')
		}
		return append(line, 'f', '\t')
	case writeFloat:
		f, err := strconv.ParseFloat(string(value), 64)
		if err != nil {
			return appendField(line, value)
		}
		return append(appendFloat(line, f), '\t')
	case writeBits:
		return appendField(line, new(big.Int).SetBytes(value).String())
	case writeUTC:
		return append(append(appendEscaped(line, value), '+', '0', '0'), '\t')
	}
	return appendField(line, value)
}
