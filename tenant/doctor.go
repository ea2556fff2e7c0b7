package tenant

// Statuses of a Check.
const (
	CheckOK      = "ok"
	CheckWarning = "warning" // it works, and will hurt one day
	CheckError   = "error"   // a command will fail
)

// Check is one answer of a store to what tenantctl needs of it.
type Check struct {
	Store   string `json:"store"`
	Name    string `json:"name"`
	Status  string `json:"status"` // one of the Check constants
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"` // the statement or setting that would help
}
