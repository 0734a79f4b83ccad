package durable

import "os"

// Stamp tells one version of a file from the next. Our files are replaced, never written over, so that two of the same
// size and moment are still two files.
type Stamp struct{ info os.FileInfo }

// StampOf takes the stamp of what Stat said of a file.
func StampOf(info os.FileInfo) Stamp { return Stamp{info} }

// Stat takes the stamp of the file that is there now.
func Stat(path string) (Stamp, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Stamp{}, err
	}
	return Stamp{info}, nil
}

// Same reports whether nothing has replaced the file in between. The zero stamp is of no file.
func (s Stamp) Same(o Stamp) bool {
	return s.info != nil && o.info != nil && os.SameFile(s.info, o.info) && s.info.Size() == o.info.Size() && s.info.ModTime().Equal(o.info.ModTime())
}
