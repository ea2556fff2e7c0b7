package nosql

import (
	"context"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/tenantctl/tenantctl/tenant"
)

var _ tenant.Counter = (*Resource)(nil)

// Count counts the documents of every collection.
func (r *Resource) Count(ctx context.Context, t tenant.Tenant) (map[string]int64, error) {
	specs, err := r.db(t).ListCollectionSpecifications(ctx, bson.D{{Key: "type", Value: bson.D{{Key: "$ne", Value: "view"}}}})
	if err != nil {
		return nil, failure("list collections", err)
	}
	counts := map[string]int64{}
	for _, spec := range specs {
		if isBook(spec.Name) || spec.Type == "view" || strings.HasPrefix(spec.Name, "system.") {
			continue
		}
		if counts[spec.Name], err = r.db(t).Collection(spec.Name).CountDocuments(ctx, bson.D{}); err != nil {
			return nil, failure("count collection "+spec.Name, err)
		}
	}
	return counts, nil
}
