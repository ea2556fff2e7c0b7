package cmd

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/tenant"
)

// completionPatience is how long the shell waits for names: then it gets none.
const completionPatience = 800 * time.Millisecond

// completion is what cobra asks for the words of an argument or a flag.
type completion = func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective)

// asking makes a completion of a question to the catalog. A server that does not answer in time is no answer.
func (a *app) asking(question func(ctx context.Context, s *tenant.Service, cmd *cobra.Command) []string) completion {
	return func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		a.prepareCompletion(cmd)
		ctx, cancel := context.WithTimeout(cmd.Context(), completionPatience)
		defer cancel()
		found := make(chan []string, 1)
		go func() {
			s, err := a.lookup(ctx)
			if err != nil {
				found <- nil
				return
			}
			found <- question(ctx, s, cmd)
		}()
		select {
		case words := <-found:
			return beginning(words, prefix, args), cobra.ShellCompDirectiveNoFileComp
		case <-ctx.Done():
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
	}
}

// prepareCompletion is start for a command that is not run.
func (a *app) prepareCompletion(cmd *cobra.Command) {
	a.cmd, a.completing = cmd, true
	a.progress = newProgress(a)
}

// beginning keeps the words that begin with prefix and were not given yet. What follows a tab describes a word.
func beginning(words []string, prefix string, given []string) []string {
	var out []string
	for _, word := range words {
		bare, _, _ := strings.Cut(word, "\t")
		if strings.HasPrefix(bare, prefix) && !slices.Contains(given, bare) {
			out = append(out, word)
		}
	}
	return out
}

// fitting are the states of the tenants that a command can do something with; others take all that are not deleted.
var fitting = map[string][]tenant.State{
	"undelete":    {tenant.Deleted},
	"purge":       {tenant.Deleted, tenant.Deleting, tenant.Failed},
	"suspend":     {tenant.Active},
	"resume":      {tenant.Suspended},
	"credentials": {tenant.Active, tenant.Suspended},
	"get":         tenant.States(), "describe": tenant.States(), "verify": tenant.States(),
}

// completeNames offers the tenants that fit the command; one alone where it takes no more.
func (a *app) completeNames(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 && !strings.Contains(cmd.Use, "...") {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	states, known := fitting[cmd.Name()]
	return a.asking(func(ctx context.Context, s *tenant.Service, _ *cobra.Command) []string {
		var names []string
		for t, err := range s.List(ctx, tenant.Selection{States: states}) {
			if err != nil {
				return nil
			}
			if known || t.State != tenant.Deleted && t.State != tenant.Deleting {
				names = append(names, string(t.Name))
			}
		}
		return names
	})(cmd, args, prefix)
}

// labelsInUse offers key=value of the tenants there are.
func labelsInUse(ctx context.Context, s *tenant.Service, _ *cobra.Command) []string {
	seen := map[string]bool{}
	for t, err := range s.List(ctx, tenant.Selection{}) {
		if err != nil {
			return nil
		}
		for key, value := range t.Labels {
			seen[key+"="+value] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// backupIDs offers each backup by its short id, and for a restore the newest of each tenant.
func backupIDs(ctx context.Context, s *tenant.Service, cmd *cobra.Command) []string {
	var ids []string
	latest := map[tenant.Name]bool{}
	for b, err := range s.Backups(ctx, tenant.BackupFilter{}) {
		if err != nil {
			return nil
		}
		ids = append(ids, tenant.ShortID(b.ID)+"\t"+string(b.Tenant)+", "+b.CreatedAt.Format(timeFormat))
		if cmd.Name() == "restore" && !latest[b.Tenant] && b.Only == "" {
			latest[b.Tenant] = true
			ids = append(ids, string(b.Tenant)+"@latest")
		}
	}
	return ids
}

// operationIDs offers the operations that a command can do something with, the newest first.
func operationIDs(filter tenant.OperationFilter, fits func(*tenant.Operation) bool) func(context.Context, *tenant.Service, *cobra.Command) []string {
	return func(ctx context.Context, s *tenant.Service, _ *cobra.Command) []string {
		var ids []string
		for op, err := range s.Operations(ctx, filter) {
			if err != nil {
				return nil
			}
			if fits(op) {
				about := strings.TrimSpace(op.Kind+" "+string(op.Tenant)) + ", " + string(op.State)
				ids = append(ids, tenant.ShortID(op.ID)+"\t"+about)
			}
		}
		return ids
	}
}

// oneOf offers fixed words.
func oneOf(words ...string) completion {
	return func(_ *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
		return beginning(words, prefix, nil), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeVersions offers the versions of the migration files of the store that --only names, the newest first.
func (a *app) completeVersions(cmd *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	a.prepareCompletion(cmd)
	cfg, err := a.config()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	folders := []string{cfg.Migrations.Postgres, cfg.Migrations.MongoDB}
	switch only := cmd.Flags().Lookup("only"); {
	case only != nil && only.Value.String() == tenant.KindPostgres:
		folders = folders[:1]
	case only != nil && only.Value.String() == tenant.KindMongoDB:
		folders = folders[1:]
	}
	names := map[int64]string{}
	for _, folder := range folders {
		files, _ := filepath.Glob(filepath.Join(folder, "[0-9]*_*.*")) // the pattern is right
		for _, file := range files {
			number, name, _ := strings.Cut(filepath.Base(file), "_")
			if v, err := strconv.ParseInt(number, 10, 64); err == nil {
				names[v] = name
			}
		}
	}
	var words []string
	for _, v := range slices.Backward(slices.Sorted(maps.Keys(names))) {
		words = append(words, strconv.FormatInt(v, 10)+"\t"+names[v])
	}
	return beginning(words, prefix, nil), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}

// completeFormats offers the formats that the command prints.
func completeFormats(cmd *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	known := formatsOf(cmd)
	if slices.Contains(known, string(formatJSON)) {
		known = append(known, "jsonpath=")
	}
	return beginning(known, prefix, nil), cobra.ShellCompDirectiveNoFileComp
}

// completeEnvironment offers the environment's name, which --confirm wants.
func (a *app) completeEnvironment(cmd *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	a.prepareCompletion(cmd)
	cfg, err := a.config()
	if err != nil || cfg.Environment == "" {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return beginning([]string{cfg.Environment}, prefix, nil), cobra.ShellCompDirectiveNoFileComp
}

// addCompletions gives every flag and argument its words, by name: one name means one thing in all commands.
func (a *app) addCompletions(root *cobra.Command) {
	var states []string
	for _, s := range tenant.States() {
		states = append(states, string(s))
	}
	stores := oneOf(tenant.KindPostgres, tenant.KindMongoDB)
	runs := a.asking(operationIDs(tenant.OperationFilter{}, func(op *tenant.Operation) bool { return op.Tenant == "" }))
	flags := map[string]completion{
		"output": completeFormats, "state": oneOf(states...), "only": stores, "store": stores,
		"log-level": oneOf("debug", "info", "warn", "error"), "log-format": oneOf("text", "json"), "progress": oneOf("auto", "plain", "json", "none"),
		"context": a.completeContexts, "confirm": a.completeEnvironment,
		"selector": a.asking(labelsInUse), "canary-selector": a.asking(labelsInUse), "label": a.asking(labelsInUse),
		"resume": runs, "retry-failed": runs,
		"defer-indexes": oneOf("never", "always", "auto"), "clone-from": a.completeTenant, "tenant": a.completeTenant,
	}
	unfinished := tenant.OperationFilter{Unfinished: true}
	every := func(*tenant.Operation) bool { return true }
	arguments := map[string]completion{
		"tenantctl restore": a.asking(backupIDs), "tenantctl backup show": a.asking(backupIDs), "tenantctl backup verify": a.asking(backupIDs),
		"tenantctl ops show":   a.asking(operationIDs(tenant.OperationFilter{Limit: 200}, every)),
		"tenantctl ops resume": a.asking(operationIDs(unfinished, every)), "tenantctl ops abort": a.asking(operationIDs(unfinished, every)),
		"tenantctl ops resolve": a.asking(operationIDs(unfinished, every)),
	}
	eachCommand(root, func(c *cobra.Command) {
		for name, words := range flags {
			a.completeFlag(c, name, words)
		}
		if strings.HasPrefix(c.CommandPath(), "tenantctl migrate") {
			a.completeFlag(c, "to", a.completeVersions)
			a.completeFlag(c, "version", a.completeVersions)
		}
		if c.CommandPath() == "tenantctl ops resolve" {
			a.completeFlag(c, "as", oneOf("done", "undone"))
		}
		if words, known := arguments[c.CommandPath()]; known {
			c.ValidArgsFunction = onlyFirst(words)
		}
	})
}

// completeFlag gives one of a command's own flags its words; a flag that it does not have is none.
func (a *app) completeFlag(c *cobra.Command, name string, words completion) {
	if c.LocalFlags().Lookup(name) == nil {
		return
	}
	if _, has := c.GetFlagCompletionFunc(name); !has {
		_ = c.RegisterFlagCompletionFunc(name, words) // which exists, and has none yet
	}
}

// completeTenant offers tenants for a flag, whatever arguments were given.
func (a *app) completeTenant(cmd *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return a.completeNames(cmd, nil, prefix)
}

// onlyFirst is for commands that take one argument.
func onlyFirst(words completion) completion {
	return func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return words(cmd, args, prefix)
	}
}
