package config

import (
	"errors"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/redis/go-redis/v9"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/connstring"
)

var errEscape = errors.New("cannot be read as a connection string; percent-encode special characters " +
	"in the user and the password (@ is %40, : is %3A, / is %2F, ? is %3F, # is %23)")

// checkPostgresURL asks the driver. No error shows a part of raw that may be secret.
func checkPostgresURL(raw string) error {
	scheme, isURL := urlScheme(raw)
	masked := MaskURL(raw)
	switch {
	case isURL && scheme != "postgres" && scheme != "postgresql":
		return errors.New("must begin with postgres://, or be pairs such as host=db.example.com user=tenantctl dbname=app")
	case masked == hidden && isURL:
		return errEscape
	case masked == hidden:
		return errors.New("is neither a postgres:// URL nor pairs such as host=db.example.com user=tenantctl dbname=app; " +
			`a value with a space or ' in it is written in quotes, 'it\'s'`)
	}
	return checkMasked(raw, masked, func(text string) error {
		_, err := pgconn.ParseConfig(text)
		if err == nil {
			return nil
		}
		_, reason, _ := strings.Cut(err.Error(), "`: ")
		return errors.New(reason)
	})
}

// checkMongoURL asks the driver, without the DNS lookups that it makes for mongodb+srv.
func checkMongoURL(raw string) error {
	scheme, isURL := urlScheme(raw)
	masked := MaskURL(raw)
	switch {
	case !isURL || scheme != connstring.SchemeMongoDB && scheme != connstring.SchemeMongoDBSRV:
		return errors.New("must begin with mongodb:// or mongodb+srv://")
	case masked == hidden:
		return errEscape
	}
	if scheme == connstring.SchemeMongoDBSRV {
		if hosts := urlShape.FindStringSubmatch(raw)[4]; hosts == "" || strings.ContainsAny(hosts, ",:") {
			return errors.New("a mongodb+srv:// URL names one host, without a port")
		}
		raw, masked = withoutSRV(raw), withoutSRV(masked)
	}
	return checkMasked(raw, masked, func(text string) error {
		_, err := connstring.ParseAndValidate(text)
		return err
	})
}

// checkRedisURL asks the client.
func checkRedisURL(raw string) error {
	scheme, isURL := urlScheme(raw)
	masked := MaskURL(raw)
	switch {
	case !isURL || scheme != "redis" && scheme != "rediss":
		return errors.New("must begin with redis:// or rediss://")
	case masked == hidden:
		return errEscape
	}
	return checkMasked(raw, masked, func(text string) error {
		_, err := redis.ParseURL(text)
		return err
	})
}

// checkMasked takes the reason from the driver's answer to the masked string, which cannot hold a secret.
func checkMasked(raw, masked string, parse func(text string) error) error {
	if parse(raw) == nil {
		return nil
	}
	if reason := parse(masked); reason != nil {
		return errors.New("is refused by the driver: " + reason.Error())
	}
	return errEscape
}

// urlScheme tells a URL from key=value pairs, whose values may hold :// too.
func urlScheme(raw string) (scheme string, isURL bool) {
	scheme, _, found := strings.Cut(raw, "://")
	return scheme, found && !strings.ContainsAny(scheme, "= ")
}

// withoutSRV gives the mongodb:// URL that follows the same rules but for those of the lookup.
func withoutSRV(raw string) string {
	address, query, _ := strings.Cut(strings.TrimPrefix(raw, connstring.SchemeMongoDBSRV+"://"), "?")
	pairs := slices.DeleteFunc(strings.Split(query, "&"), func(pair string) bool {
		name, _, _ := strings.Cut(strings.ToLower(pair), "=")
		return name == "srvmaxhosts" || name == "srvservicename"
	})
	if !strings.Contains(address, "/") {
		address += "/"
	}
	return connstring.SchemeMongoDB + "://" + address + "?" + strings.Join(pairs, "&")
}
