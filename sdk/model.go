package sdk

import "io"

// Model is a model or a data pack that was installed with the plugin. Its bytes were verified when the plugin started,
// and nobody can change them: another release of it means another start. Close it when you need it no longer.
type Model struct {
	ID      string // of its release, namespace/name
	Version string
	Digest  string // SHA-256 of the bytes, in hexadecimal

	*io.SectionReader // Read, ReadAt, Seek, Size
	io.Closer
}

// Bytes reads all of it into memory. A guest has no other way; a process may also read it where it lies, by ReadAt.
func (m *Model) Bytes() ([]byte, error) {
	data := make([]byte, m.Size())
	if _, err := io.ReadFull(io.NewSectionReader(m, 0, m.Size()), data); err != nil {
		return nil, Errorf(Temporary, "read model %s %s: %w", m.ID, m.Version, err)
	}
	return data, nil
}
