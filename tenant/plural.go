package tenant

import "fmt"

// Plural counts things in words: "1 tenant", "2 tenants".
func Plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
