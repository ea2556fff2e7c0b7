package legacy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Whoever edits a mapping may have the schema checked by any library: the program's verdict is the same.
func TestAMappingIsJudgedAsALibraryOfJSONSchemaJudgesIt(t *testing.T) {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("mapping.schema.json", document); err != nil {
		t.Fatal(err)
	}
	library := compiler.MustCompile("mapping.schema.json")
	random := rand.New(rand.NewPCG(1, 2))
	good, bad := 0, 0
	for range 20000 {
		mapping := generate(random, mappingShape(), 0)
		if random.IntN(2) == 0 {
			mapping = spoil(random, mapping)
		}
		want, found := library.Validate(mapping), mappingShape().violations(nil, mapping)
		if (want == nil) != (len(found) == 0) {
			text, _ := json.Marshal(mapping)
			t.Fatalf("%s\nthe library: %v\nthe program: %+v", text, want, found)
		}
		if want == nil {
			good++
		} else {
			bad++
		}
	}
	if good < 5000 || bad < 5000 {
		t.Errorf("compared %d good mappings and %d bad ones: both kinds are needed", good, bad)
	}
}

// A keyword that the program does not know would be passed over in silence.
func TestTheProgramKnowsEveryKeywordOfTheSchema(t *testing.T) {
	decoder := json.NewDecoder(bytes.NewReader(withoutDescriptions(t, Schema)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&shape{}); err != nil {
		t.Error(err)
	}
}

// withoutDescriptions takes away the keywords that tell people something and check nothing.
func withoutDescriptions(t *testing.T, schema []byte) []byte {
	var document any
	if err := json.Unmarshal(schema, &document); err != nil {
		t.Fatal(err)
	}
	var strip func(value any, isShape bool)
	strip = func(value any, isShape bool) {
		switch v := value.(type) {
		case []any:
			for _, one := range v {
				strip(one, isShape)
			}
		case map[string]any:
			for _, key := range slices.Collect(maps.Keys(v)) {
				if _, text := v[key].(string); text && isShape && slices.Contains([]string{"$schema", "$id", "title", "description"}, key) {
					delete(v, key)
					continue
				}
				strip(v[key], !isShape || key != "properties" && key != "$defs")
			}
		}
	}
	strip(document, true)
	out, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// generate makes a value that mostly fits a shape.
func generate(random *rand.Rand, s *shape, depth int) any {
	switch {
	case s.Ref != "":
		return generate(random, mappingShape().Defs[s.Ref[len("#/$defs/"):]], depth)
	case s.Const != nil:
		return int(*s.Const)
	case s.Enum != nil:
		return s.Enum[random.IntN(len(s.Enum))]
	case s.OneOf != nil && len(s.Properties) == 0:
		return generate(random, s.OneOf[random.IntN(len(s.OneOf))], depth)
	}
	switch s.Type[random.IntN(len(s.Type))] {
	case "object":
		return generateObject(random, s, depth)
	case "array":
		list := []any{}
		for range max(s.MinItems, random.IntN(3)) {
			list = append(list, generate(random, s.Items, depth+1))
		}
		return list
	case "integer":
		return int(*s.Minimum) + random.IntN(3)
	case "number":
		return random.Float64()
	case "boolean":
		return random.IntN(2) == 0
	case "null":
		return nil
	}
	return "x"
}

func generateObject(random *rand.Rand, s *shape, depth int) any {
	object := map[string]any{}
	required := slices.Clone(s.Required)
	if s.OneOf != nil {
		required = append(required, s.OneOf[random.IntN(len(s.OneOf))].Required...)
	}
	if s.Then != nil {
		required = append(required, []string{"from", "sql", "value", "lookup"}[random.IntN(4)])
	}
	for _, key := range slices.Sorted(maps.Keys(s.Properties)) {
		if slices.Contains(required, key) || depth < 3 && s.Then == nil && s.OneOf == nil && random.IntN(8) == 0 {
			object[key] = generate(random, s.Properties[key], depth+1)
		}
	}
	if s.Others != nil && s.Others.shape != nil {
		for i := range max(s.MinProperties, random.IntN(3)) {
			object[fmt.Sprint("k", i)] = generate(random, s.Others.shape, depth+1)
		}
	}
	return object
}

// spoil changes one thing somewhere in a value.
func spoil(random *rand.Rand, value any) any {
	strange := []any{
		nil, true, 0, 1, -1, 2.5, 1e30, "", "x", "Ä b", "pg_",
		[]any{},
		[]any{1},
		[]any{"a", "a"},
		map[string]any{},
		map[string]any{"from": "a"},
		map[string]any{"from": "a", "sql": "b"},
		map[string]any{"from": "a", "date_format": "b"},
		map[string]any{"from": "a", "number_format": "b", "sql": "c"},
		map[string]any{"Ä": map[string]any{"url": "x", "path": "y"}},
	}
	switch v := value.(type) {
	case map[string]any:
		keys := append(slices.Sorted(maps.Keys(v)), "from", "query", "url", "path", "unknown")
		key := keys[random.IntN(len(keys))]
		if random.IntN(5) == 0 {
			delete(v, key)
		} else if old, ok := v[key]; ok && random.IntN(4) > 0 {
			v[key] = spoil(random, old)
		} else {
			v[key] = strange[random.IntN(len(strange))]
		}
		return v
	case []any:
		if len(v) > 0 {
			i := random.IntN(len(v))
			v[i] = spoil(random, v[i])
			return v
		}
	}
	return strange[random.IntN(len(strange))]
}
