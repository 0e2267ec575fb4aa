package web

import (
	"crypto/sha256"
	"encoding/base64"
	"html"
	"regexp"
	"slices"
	"strings"
)

var (
	scriptElement  = regexp.MustCompile(`(?s)<script\b[^>]*>(.*?)</script>`)
	styleElement   = regexp.MustCompile(`(?s)<style\b[^>]*>(.*?)</style>`)
	styleAttribute = regexp.MustCompile(`<[a-zA-Z][^>]*?\sstyle="([^"]*)"`)
)

// policyFor allows what the page itself brings, by hash, and its own server; nothing else.
func policyFor(page []byte) string {
	scripts := hashesOf(page, scriptElement)
	styles := hashesOf(page, styleElement)
	if attributes := hashesOf(page, styleAttribute); len(attributes) > 0 {
		styles = append(append(styles, "'unsafe-hashes'"), attributes...)
	}
	return strings.Join([]string{
		"default-src 'none'",
		strings.Join(append([]string{"script-src 'self'"}, scripts...), " "),
		strings.Join(append([]string{"style-src 'self'"}, styles...), " "),
		"img-src 'self' data: blob:",
		"font-src 'self'",
		"connect-src 'self'",
		"manifest-src 'self'",
		"worker-src 'self'",
		"base-uri 'none'",
		"form-action 'self'",
		"frame-ancestors 'none'",
	}, "; ")
}

// hashesOf lists the distinct contents that the pattern's group finds, as a policy's sources. Elements that load a file
// are empty and need none.
func hashesOf(page []byte, pattern *regexp.Regexp) []string {
	var sources []string
	for _, match := range pattern.FindAllSubmatch(page, -1) {
		content := string(match[1])
		if pattern == styleAttribute {
			content = html.UnescapeString(content)
		}
		if content == "" {
			continue
		}
		sum := sha256.Sum256([]byte(content))
		sources = append(sources, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
	}
	slices.Sort(sources)
	return slices.Compact(sources)
}

// workerPolicy is the service worker's own: a page's does not bind it, and it has to fetch what it keeps.
const workerPolicy = "default-src 'none'; connect-src 'self'"
