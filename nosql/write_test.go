package nosql

import (
	"context"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest/mongoproxy"
)

// A write that is given up while the server still works on it would land after the clean-up that follows.
func TestAWriteThatWasSentIsWaitedFor(t *testing.T) {
	r, p := proxied(t, example)
	ten := newTenant(t)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	p.Intercept(func(c mongoproxy.Command) mongoproxy.Action {
		if c.Name == "insert" {
			interrupt()
		}
		return mongoproxy.Action{}
	})
	refuses(t, r.Create(ctx, ten), tenant.ErrInterrupted)
	if n, err := plain(t).Database(ten.Database).Collection(ownCollection).CountDocuments(t.Context(), bson.D{{Key: "_id", Value: ownerID}}); err != nil || n != 1 {
		t.Errorf("%d marks are there when the call returns (%v)", n, err)
	}
	var inserts int
	for _, c := range p.Commands() {
		if c.Name == "insert" {
			inserts++
		}
	}
	if inserts != 1 {
		t.Errorf("%d writes were sent, want none after the interruption", inserts)
	}
	must(t, r.Drop(t.Context(), ten))
}
