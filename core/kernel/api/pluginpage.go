package api

import (
	"net/http"

	"github.com/gin-gonic/gin"
)

// pluginPagePolicy is for HTML that a plugin's author wrote: it runs with an origin of its own, may run its own scripts,
// and can reach nothing, neither this server nor another.
const pluginPagePolicy = "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; " +
	"img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"

// pluginPage serves the page of a plugin for the frame that shows it.
func (s *Server) pluginPage(c *gin.Context) {
	html, err := s.cfg.Catalogue.Page(c.Request.Context(), c.Param("ns")+"/"+c.Param("name"))
	if err != nil {
		s.fail(c, err)
		return
	}
	c.Header("Content-Security-Policy", pluginPagePolicy)
	c.Header("X-Frame-Options", "SAMEORIGIN")
	c.Header("X-DNS-Prefetch-Control", "off")
	c.Data(http.StatusOK, "text/html; charset=utf-8", []byte(html))
}
