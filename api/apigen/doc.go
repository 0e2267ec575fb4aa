// Package apigen is generated from api/openapi.yaml: the server interface that package api implements, and the
// request and response types that the CLI shares with it.
package apigen

//go:generate sh -c "cd .. && go tool oapi-codegen -config apigen/config.yaml openapi.yaml"
