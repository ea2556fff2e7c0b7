package legacy

import (
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// By which values documents of MongoDB refer to each other: as its $lookup has it, but that nothing refers by null.

func noValue(v bson.RawValue) bool {
	return v.Type == 0 || v.Type == bson.TypeNull || v.Type == bson.TypeUndefined
}

// joinKey is a value as others equal it: numbers of all types by what they are, documents by their values.
func joinKey(v bson.RawValue) string {
	switch v.Type {
	case bson.TypeInt32:
		return "n" + strconv.FormatInt(int64(v.Int32()), 10)
	case bson.TypeInt64:
		return "n" + strconv.FormatInt(v.Int64(), 10)
	case bson.TypeDouble:
		f := v.Double()
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return "n" + strconv.FormatFloat(f, 'g', -1, 64)
		}
		return "n" + new(big.Rat).SetFloat64(f).RatString()
	case bson.TypeDecimal128:
		return "n" + decimalKey(v.Decimal128())
	case bson.TypeSymbol:
		return string(rune(bson.TypeString)) + string(v.Value)
	case bson.TypeEmbeddedDocument, bson.TypeArray:
		elements, err := bson.Raw(v.Value).Elements()
		if err != nil {
			break // equal to itself alone
		}
		key := string(rune(v.Type))
		for _, e := range elements {
			part := joinKey(e.Value())
			key += e.Key() + "\x00" + strconv.Itoa(len(part)) + ":" + part
		}
		return key
	}
	return string(rune(v.Type)) + string(v.Value)
}

// decimalKey is a decimal number as joinKey has numbers.
func decimalKey(d bson.Decimal128) string {
	switch {
	case d.IsNaN():
		return "NaN"
	case d.IsInf() != 0:
		return strconv.FormatFloat(math.Inf(d.IsInf()), 'g', -1, 64)
	}
	digits, exp, err := d.BigInt()
	if err != nil {
		return d.String()
	}
	power := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(exp, -exp))), nil)
	if exp < 0 {
		return new(big.Rat).SetFrac(digits, power).RatString()
	}
	return digits.Mul(digits, power).String()
}

// joinValues are the values of a field: the elements of an array, and those in all documents of arrays on its path.
func joinValues(doc bson.Raw, path string) []bson.RawValue {
	if v, err := doc.LookupErr(path); err == nil {
		return slices.DeleteFunc(elementsOf(v), noValue)
	}
	found := []bson.RawValue{{Type: bson.TypeEmbeddedDocument, Value: doc}}
	for _, name := range strings.Split(path, ".") {
		var next []bson.RawValue
		for _, v := range found {
			if v.Type == bson.TypeArray {
				if at, err := bson.Raw(v.Value).LookupErr(name); err == nil { // a number
					next = append(next, at)
				}
			}
			for _, one := range elementsOf(v) {
				if one.Type != bson.TypeEmbeddedDocument {
					continue
				}
				if at, err := bson.Raw(one.Value).LookupErr(name); err == nil {
					next = append(next, at)
				}
			}
		}
		found = next
	}
	var out []bson.RawValue
	for _, v := range found {
		out = append(out, elementsOf(v)...)
	}
	return slices.DeleteFunc(out, noValue)
}

// elementsOf are those of an array, or the value itself.
func elementsOf(v bson.RawValue) []bson.RawValue {
	if v.Type != bson.TypeArray {
		return []bson.RawValue{v}
	}
	values, err := bson.Raw(v.Value).Values()
	if err != nil {
		return nil
	}
	return values
}

// joins tells whether a field of one document has a value that a field of the other has.
func joins(a bson.Raw, field string, b bson.Raw, other string) bool {
	return slices.ContainsFunc(joinValues(a, field), func(v bson.RawValue) bool {
		key := joinKey(v)
		return slices.ContainsFunc(joinValues(b, other), func(w bson.RawValue) bool { return joinKey(w) == key })
	})
}
