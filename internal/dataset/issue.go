package dataset

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/vibeflow/vibeflow/contract"
)

// Severity says what an issue does to its row.
type Severity string

// Severities. A row with an error is left out; one with warnings only is used.
const (
	SeverityError   Severity = "error"
	SeverityWarning Severity = "warning"
)

// Codes of issues.
const (
	IssueMissingField  = "missing_field"           // error: a column that the format needs is missing or null
	IssueEmptyField    = "empty_field"             // error for what is learnt, warning for what is asked
	IssueWrongType     = "wrong_type"              // error: not text where text must be, …
	IssueBrokenJSON    = "broken_json"             // error: a line of JSON Lines that is no JSON
	IssueNotAnObject   = "row_not_object"          // error: the row has no columns
	IssueMixedSchema   = "mixed_schema"            // error: the row is of another format than the file
	IssueUnknownRole   = "unknown_role"            // error
	IssueLastTurn      = "last_turn_not_assistant" // error: nothing to learn at the end
	IssueIdenticalPair = "identical_pair"          // error: chosen equals rejected
	IssueNUL           = "nul_character"           // error
	IssueFieldCount    = "field_count"             // error: a CSV row with more or fewer fields than the header
	IssueContent       = "unsupported_content"     // error: an image, audio, … in a message
	IssueSameRole      = "same_role_twice"         // warning: two turns of the same role in a row
	IssueNoUserTurn    = "no_user_turn"            // warning
	IssueSystemLate    = "system_not_first"        // warning: many chat templates refuse it
	IssueSpecialTokens = "special_tokens"          // warning: control tokens of a chat template inside a text
	IssueToolCall      = "tool_call_not_json"      // warning
	IssueNumberAsText  = "number_as_text"          // warning: a number or true/false used as text
	IssueWeight        = "weight_ignored"          // warning: OpenAI's per-message weight 0
)

// Issue is something wrong with a row.
type Issue struct {
	Row      int64    `json:"row"`            // 1-based
	Line     int64    `json:"line,omitempty"` // 1-based; 0 where the file has no lines (Parquet)
	Field    string   `json:"field,omitempty"`
	Code     string   `json:"code"`
	Severity Severity `json:"severity"`
	Message  string   `json:"message"`
}

// Limits on what is cited; everything is counted.
const (
	maxCited        = 100
	maxCitedPerCode = 25 // so that a frequent issue does not crowd out a rare one
)

// Issues are counted in full; the first ones are cited.
type Issues struct {
	Errors   int64        `json:"errors"`
	Warnings int64        `json:"warnings"`
	Counts   []IssueCount `json:"counts"` // most frequent first
	Cited    []Issue      `json:"cited"`  // at most 100, at most 25 of a code, in file order
}

// IssueCount is how often a code occurred.
type IssueCount struct {
	Code     string   `json:"code"`
	Severity Severity `json:"severity"`
	Count    int64    `json:"count"`
}

// issueLog gathers Issues.
type issueLog struct {
	counts map[[2]string]int64 // code, severity
	cited  []Issue
}

func newIssueLog() *issueLog { return &issueLog{counts: map[[2]string]int64{}} }

func (l *issueLog) add(issue Issue) {
	key := [2]string{issue.Code, string(issue.Severity)}
	l.counts[key]++
	if len(l.cited) < maxCited && l.counts[key] <= maxCitedPerCode {
		l.cited = append(l.cited, issue)
	}
}

func (l *issueLog) report() Issues {
	out := Issues{Counts: []IssueCount{}, Cited: append([]Issue{}, l.cited...)}
	for key, n := range l.counts {
		out.Counts = append(out.Counts, IssueCount{Code: key[0], Severity: Severity(key[1]), Count: n})
		if Severity(key[1]) == SeverityError {
			out.Errors += n
		} else {
			out.Warnings += n
		}
	}
	slices.SortFunc(out.Counts, func(a, b IssueCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Severity, b.Severity))
	})
	return out
}

// firstError words the first cited error for a message.
func (l *issueLog) firstError() string {
	for _, issue := range l.cited {
		if issue.Severity == SeverityError {
			return issue.Where() + ": " + issue.Message
		}
	}
	return ""
}

// Where says which row an issue is about, for people: "row 7 (line 8), answer".
func (i Issue) Where() string {
	at := fmt.Sprintf("row %d", i.Row)
	if i.Line > 0 {
		at += fmt.Sprintf(" (line %d)", i.Line)
	}
	if i.Field != "" {
		at += ", " + i.Field
	}
	return at
}

// Limits of what a dataset may be and still be used.
const (
	MinValidRows    = 2
	MaxInvalidShare = 0.20
)

// judge decides whether the valid rows make a dataset. examples are what they become: text is cut into several.
func judge(rows, invalid, examples int64, log *issueLog) error {
	switch {
	case rows == 0:
		return contract.Errorf(contract.CodeBadData, "the file holds no rows").Mend("upload a file with at least %d rows", MinValidRows)
	case float64(invalid) > MaxInvalidShare*float64(rows):
		return contract.Errorf(contract.CodeBadData, "%d of %d rows are invalid; the first is %s", invalid, rows, log.firstError()).
			Mend("mend the rows cited; up to %.0f %% of invalid rows are left out by themselves", MaxInvalidShare*100)
	case examples < MinValidRows:
		return contract.Errorf(contract.CodeBadData, "the file holds only %d usable row(s)", examples).
			Mend("training needs at least %d: one to learn from and one held out", MinValidRows)
	}
	return nil
}
