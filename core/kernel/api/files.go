package api

import (
	"bytes"
	"io/fs"
	"net/http"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
)

const registryPath = "/registry/*path"

// fileRoutes serves the pages, the API's own description and the registry.
func (s *Server) fileRoutes() {
	s.engine.GET("/api/v1/openapi.json", s.document)
	s.engine.GET("/api/v1/plugins/:ns/:name/page", s.pluginPage)
	s.engine.GET(registryPath, s.registryFile)
	s.engine.HEAD(registryPath, s.registryFile)
	s.engine.POST(registryPath, s.registryCall)
	s.engine.NoRoute(s.pageOrNothing)
	s.engine.NoMethod(func(c *gin.Context) {
		s.refuse(c, http.StatusMethodNotAllowed, "this address does not answer "+c.Request.Method)
	})
}

func (s *Server) document(c *gin.Context) {
	text, err := s.OpenAPI()
	if err != nil {
		s.fail(c, err)
		return
	}
	c.Header("Cache-Control", "no-cache")
	c.Data(http.StatusOK, "application/json", text)
}

// registryFile serves the signed files as they lie on disk. Nothing here is secret, and nothing is trusted by anybody
// before its signature was checked. It lists no folder.
func (s *Server) registryFile(c *gin.Context) {
	if s.cfg.Registry != nil {
		s.registryCall(c)
		return
	}
	name := strings.TrimPrefix(path.Clean(c.Param("path")), "/")
	if s.cfg.RegistryDir == "" || !fs.ValidPath(name) {
		s.refuse(c, http.StatusNotFound, "no such file in the registry")
		return
	}
	root, err := os.OpenRoot(s.cfg.RegistryDir) // follows no link out of the folder
	if err != nil {
		s.refuse(c, http.StatusNotFound, "this server serves no registry")
		return
	}
	defer root.Close()
	f, err := root.Open(name)
	if err != nil {
		s.refuse(c, http.StatusNotFound, "no such file in the registry")
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		s.refuse(c, http.StatusNotFound, "no such file in the registry")
		return
	}
	c.Header("Cache-Control", "no-cache")
	c.Header("Content-Type", "application/octet-stream")
	if strings.HasSuffix(name, ".json") {
		c.Header("Content-Type", "application/json")
	}
	http.ServeContent(c.Writer, c.Request, "", info.ModTime(), f)
}

// registryCall passes a request on to the registry's own server, which bounds and checks it.
func (s *Server) registryCall(c *gin.Context) {
	if s.cfg.Registry == nil {
		s.refuse(c, http.StatusNotFound, "this server's registry is a folder of files and takes nothing")
		return
	}
	r := c.Request.Clone(c.Request.Context())
	r.URL.Path, r.URL.RawPath = path.Clean("/"+c.Param("path")), "" // nothing above, and no redirect out of /registry/
	s.cfg.Registry.ServeHTTP(c.Writer, r)
}

// pageOrNothing answers what no route knows: a file of the web app, its index for the addresses it routes itself, and
// a problem document below the addresses of programs.
func (s *Server) pageOrNothing(c *gin.Context) {
	where := c.Request.URL.Path
	get := c.Request.Method == http.MethodGet || c.Request.Method == http.MethodHead
	if !get || s.cfg.Pages == nil || strings.HasPrefix(where, "/api/") || where == "/api" {
		s.refuse(c, http.StatusNotFound, "there is nothing at this address")
		return
	}
	name := strings.TrimPrefix(path.Clean(where), "/")
	if name == "" || strings.HasSuffix(name, ".gitkeep") {
		name = "index.html"
	}
	if s.servePage(c, name) {
		return
	}
	if strings.HasPrefix(name, "assets/") || !s.servePage(c, "index.html") {
		s.refuse(c, http.StatusNotFound, "there is nothing at this address")
	}
}

func (s *Server) servePage(c *gin.Context, name string) bool {
	content, kind, packed, err := s.pages.open(name, takesGzip(c.GetHeader("Accept-Encoding")))
	if err != nil {
		return false
	}
	c.Header("Cache-Control", "no-cache")
	if strings.HasPrefix(name, "assets/") { // the name carries a hash of the content
		c.Header("Cache-Control", "public, max-age=31536000, immutable")
	}
	c.Header("Vary", "Accept-Encoding")
	if !packed {
		http.ServeContent(c.Writer, c.Request, name, time.Time{}, bytes.NewReader(content))
		return true
	}
	c.Header("Content-Encoding", "gzip")
	c.Header("Content-Length", strconv.Itoa(len(content)))
	c.Data(http.StatusOK, kind, content)
	return true
}
