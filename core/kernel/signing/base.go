package signing

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/dunglas/httpsfv"
)

// signatureBase builds the bytes that are signed (RFC 9421, section 2.5): one line per component, then the parameters.
func signatureBase(req *http.Request, input httpsfv.InnerList) (string, error) {
	var b strings.Builder
	for _, item := range input.Items {
		name, ok := item.Value.(string)
		if !ok || len(item.Params.Names()) != 0 {
			return "", fmt.Errorf("component %v is not a plain name", item.Value)
		}
		value, err := component(req, name)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "%q: %s\n", name, value)
	}
	params, err := httpsfv.Marshal(httpsfv.List{input})
	if err != nil {
		return "", fmt.Errorf("signature parameters: %w", err)
	}
	b.WriteString(`"@signature-params": ` + params)
	return b.String(), nil
}

func component(req *http.Request, name string) (string, error) {
	switch name {
	case "@method":
		return req.Method, nil
	case "@authority":
		if req.Host != "" {
			return strings.ToLower(req.Host), nil
		}
		return strings.ToLower(req.URL.Host), nil
	case "@path":
		if p := req.URL.EscapedPath(); p != "" {
			return p, nil
		}
		return "/", nil // an empty path is sent as "/"
	case "@query":
		return "?" + req.URL.RawQuery, nil
	}
	if strings.HasPrefix(name, "@") || name != strings.ToLower(name) {
		return "", fmt.Errorf("component %q is not supported", name)
	}
	lines := req.Header.Values(name)
	if len(lines) == 0 {
		return "", fmt.Errorf("header %q is missing", name)
	}
	values := make([]string, len(lines))
	for i, line := range lines {
		values[i] = strings.TrimSpace(line)
		if strings.ContainsAny(values[i], "\r\n") {
			return "", fmt.Errorf("header %q contains a line break", name)
		}
	}
	return strings.Join(values, ", "), nil
}
