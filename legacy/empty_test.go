package legacy

import (
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// FerretDB 1 deletes no more than 32,766 documents by one command: a larger collection was left as it was.
func TestACollectionIsEmptiedPieceByPiece(t *testing.T) {
	docs := make([]any, 2_500)
	for i := range docs {
		docs[i] = bson.D{{Key: "_id", Value: int32(i)}, {Key: "a", Value: "x"}}
	}
	docs[0], docs[1] = bson.D{{Key: "_id", Value: "text"}}, bson.D{{Key: "_id", Value: bson.D{{Key: "a", Value: 1}}}}
	c := mongoWith(t, map[string][]any{"many": docs}).db.Collection("many")
	for range 2 { // the second time there is nothing to do
		if err := emptyByPieces(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if n, err := c.CountDocuments(t.Context(), bson.D{}); err != nil || n != 0 {
			t.Errorf("%d documents are left, %v", n, err)
		}
	}
}
