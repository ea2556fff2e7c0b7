package schema

// byOwner makes of commands of the provisioning role such as are run as the schema's owner, so that what they make is the
// owner's. None of them may run code of the tenant's, which could end that.
func byOwner(owner, self string) func([]command) []command {
	return func(commands []command) []command {
		if owner == self {
			return commands
		}
		return append(append([]command{cmd("SET LOCAL ROLE %s", quote(owner))}, commands...), cmd("RESET ROLE"))
	}
}
