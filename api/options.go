package api

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/dataset"
)

// processOptions lays a request's choices over those that a dataset has, nil for none, and refuses what no file could be
// processed with. within names the field of the request that holds them.
func processOptions(have *contract.ProcessOptions, changes json.RawMessage, within string) (contract.ProcessOptions, error) {
	options := contract.DefaultProcessOptions()
	if have != nil {
		options = *have
	}
	options, err := options.With(changes)
	if err != nil {
		return options, notJSON(err, within)
	}
	checked := dataset.OptionsOf(options)
	return options, inField(checked.Validate(), within)
}

// formOptions checks the options of a form as the document says; the validator checks the bodies that are JSON alone.
func (s *Server) formOptions(text []byte) (contract.ProcessOptions, error) {
	var given any
	if err := json.Unmarshal(text, &given); err != nil {
		return contract.ProcessOptions{}, notJSON(err, "options")
	}
	if err := s.document.Components.Schemas["ProcessOptions"].Value.VisitJSON(given, openapi3.VisitAsRequest()); err != nil {
		return contract.ProcessOptions{}, inField(invalidRequest(err), "options")
	}
	return processOptions(nil, text, "options")
}

// inField says that the field at fault is inside another.
func inField(err error, within string) error {
	var typed *contract.Error
	if within == "" || !errors.As(err, &typed) {
		return err
	}
	return named(err, strings.Trim(within+"."+typed.Field, "."))
}
