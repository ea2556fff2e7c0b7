package tenant

import "testing"

func TestANameThatIsNoneSuggestsTheNearestOne(t *testing.T) {
	known := []string{"acme", "globex", "initech-berlin", "initrode"}
	for name, want := range map[string]string{
		"acm": "acme", "amce": "", "acne": "acme", "globx": "globex", "initech": "initech-berlin", "init": "", "nobody": "", "x": "",
	} {
		if got := nearest(name, known); got != want {
			t.Errorf("%s: %q is suggested, want %q", name, got, want)
		}
	}
}
