package api

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/auth"
	"github.com/vibeflow/vibeflow/internal/store"
)

// ListActivity lists what happened in a project.
func (s *Server) ListActivity(c *echo.Context, id string, p apigen.ListActivityParams) error {
	page, err := s.Store.ListActivity(c.Request().Context(), id, p.Cursor, p.Limit)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, apigen.ActivityPage{Items: mapped(page.Items, viewActivity), NextCursor: page.Next})
}

func viewActivity(a store.Activity) apigen.Activity {
	view := apigen.Activity{ID: a.ID, At: a.At, Action: a.Action, Kind: apigen.ActivityKind(a.Kind), ResourceID: a.Resource, ResourceName: a.Name,
		Text: activityText(a), Detail: a.Detail}
	if a.ActorID == "" {
		return view
	}
	view.Actor = apigen.ActivityActor{Kind: "machine_owner", ID: a.ActorID, Name: actorName(a)}
	switch {
	case strings.HasPrefix(a.ActorID, contract.PrefixUser):
		view.Actor.Kind = "user"
	case strings.HasPrefix(a.ActorID, contract.PrefixKey):
		view.Actor.Kind = "api_key"
	}
	return view
}

// actorName is empty for an account that is gone.
func actorName(a store.Activity) string {
	switch auth.Means(a.ActorID) {
	case auth.ByToken, auth.BySession:
		return "The machine's owner"
	default:
		return a.Actor
	}
}

// phrase says an action: with who did it, and where nobody did.
type phrase struct{ did, happened string }

var phrases = map[string]phrase{
	"created":          {"started the %s", "the %s was started"},
	"queued":           {"had the %s processed again", "the %s waits in line"},
	"pause_requested":  {"paused the %s", "the %s is to pause"},
	"resume_requested": {"resumed the %s", "the %s is to go on"},
	"cancel_requested": {"cancelled the %s", "the %s is to be cancelled"},
	"stop_requested":   {"stopped the %s", "the %s is to stop"},
	"retry_requested":  {"retried the %s", "the %s is to be retried"},
	"confirmed":        {"confirmed the %s", "the %s was confirmed"},
	"edited":           {"changed the %s", "the %s was changed"},
	"paused":           {"", "the %s is paused"},
	"cancelled":        {"", "the %s is cancelled"},
	"failed":           {"", "the %s failed"},
	"completed":        {"", "the %s is completed"},
	"stopped":          {"", "the %s is stopped"},
	"serving":          {"", "the %s answers"},

	"dataset.created":   {"uploaded the %s", "the %s was uploaded"},
	"dataset.completed": {"", "the %s is ready"},

	"createProject": {"made the %s", ""}, "updateProject": {"changed the %s", ""}, "archiveProject": {"archived the %s", ""},
	"unarchiveProject": {"took the %s out of the archive", ""}, "deleteProject": {"deleted the %s", ""}, "restoreProject": {"restored the %s", ""},
	"generateKey": {"made the %s", ""}, "revokeKey": {"revoked the %s", ""},
	"deleteDataset": {"deleted the %s", ""}, "deleteModel": {"deleted the %s", ""}, "deleteJob": {"deleted the %s", ""},
	"deleteEvaluation": {"deleted the %s", ""}, "deletePipeline": {"deleted the %s", ""},
	"addMember": {"added the %s", ""}, "updateMember": {"changed the role of the %s", ""}, "removeMember": {"removed the %s", ""},
}

// nouns are what people call the kinds.
var nouns = map[contract.Kind]string{contract.KindJob: "training", contract.KindEvaluation: "evaluation of", contract.KindDeployment: "deployment of",
	contract.KindExport: "export of", store.KindKey: "API key"}

// activityText is a sentence, without a full stop.
func activityText(a store.Activity) string {
	said, ok := phrases[a.Action]
	if !ok {
		said = phrases[strings.TrimPrefix(a.Action, string(a.Kind)+".")]
	}
	thing := fmt.Sprintf("%s “%s”", cmp.Or(nouns[a.Kind], string(a.Kind)), cmp.Or(a.Name, a.Resource))
	switch {
	case a.ActorID != "" && said.did != "":
		return cmp.Or(actorName(a), "Somebody who is gone") + " " + fmt.Sprintf(said.did, thing)
	case said.happened != "":
		return capital(fmt.Sprintf(said.happened, thing))
	default:
		return capital(fmt.Sprintf("%s: %s", thing, a.Action))
	}
}

// capital begins a sentence.
func capital(sentence string) string {
	first, size := utf8.DecodeRuneInString(sentence)
	return string(unicode.ToUpper(first)) + sentence[size:]
}
