package ransomware

import (
	"strings"
)

// name is a path taken apart. Names do not tell capitals from small letters.
type name struct {
	whole     uint64 // hash of the path
	stem      uint64 // of the path without the extension
	folder    uint64 // of what stands before the last separator
	base      int    // where the last part begins
	extension uint32 // hash, 0 for none
	text      string // the extension, part of the path
}

// FNV-1a, which is the same everywhere.
const (
	offset64, prime64 = uint64(14695981039346656037), uint64(1099511628211)
	offset32, prime32 = uint32(2166136261), uint32(16777619)
)

const maxExtension = 24

// read takes a path apart, in one go.
func read(path string) (n name) {
	for path != "" && path[0] == '\\' {
		path = path[1:]
	}
	h, dot := offset64, -1
	for i := range len(path) {
		c := small(path[i])
		switch {
		case c == '\\' || c == '/':
			n.folder, n.base, dot = h, i+1, -1
		case c == '.' && i > n.base:
			dot, n.stem = i, h
		}
		h = (h ^ uint64(c)) * prime64
	}
	n.whole = h
	if dot < 0 || dot+1 == len(path) || len(path)-dot > maxExtension {
		n.stem = h
		return n
	}
	n.text = path[dot+1:]
	n.extension = hashOf(n.text)
	return n
}

func small(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// hashOf is that of an extension, never 0.
func hashOf(text string) uint32 {
	h := offset32
	for i := range len(text) {
		h = (h ^ uint32(small(text[i]))) * prime32
	}
	return max(h, 1)
}

func number(text string) bool {
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
	}
	return true
}

// usual are extensions that programs give files which they write or rename: documents, pictures, sound, films, programs and what
// is made from them, archives, and what editors, browsers and synchronisation leave for a while.
const usual = `doc docx docm dot dotx xls xlsx xlsm xlsb xlt xltx ppt pptx pptm pps ppsx odt ods odp odg ott rtf txt text csv tsv pdf xps epub mobi md rst tex
log aux toc bbl blg out synctex ps eps one onetoc2 pst ost eml msg mbox ics vcf pub vsd vsdx mdb accdb ldb laccdb mpp pages numbers key
jpg jpeg jpe jfif png gif bmp tif tiff webp heic heif svg ico psd psb ai indd idml cdr raw cr2 cr3 nef arw dng orf rw2 raf pef srw xmp xcf kra
mp3 m4a aac wav flac ogg opus wma mid aif aiff mp4 m4v mov avi mkv wmv webm mpg mpeg flv ts vob srt sub vtt
html htm xhtml xml xsl xsd css scss less js mjs cjs jsx tsx json json5 yaml yml toml ini cfg conf properties env php asp aspx jsp map
c h cc cpp cxx hpp hh m mm go rs py pyc pyo pyd java class jar war kt swift rb pl lua sh bash bat cmd ps1 psm1 vbs sql r ipynb cs vb fs d o obj lib a so dll exe com sys msi
pdb idb ilk exp res rc tlb tlog lastbuildstate sln csproj vcxproj user suo cache nupkg whl egg mod sum lock-json snap gradle cmake make mk ninja dep
zip 7z rar tar gz tgz bz2 xz zst lz4 lzma cab iso img dmg vhd vhdx vmdk qcow2 ova deb rpm apk
bak backup old orig save sav prev copy tmp temp swp swo swx part partial crdownload download filepart opdownload aria2 sync conflict new dist sample rej patch diff
db db3 sqlite sqlite3 wal shm journal mdf ldf ndf dbf fdb idx ibd frm myd myi dat data bin blob dump parquet avro
md5 sha1 sha256 sha512 sig asc gpg pgp pem crt cer key p12 pfx csr lnk url desktop ttf otf woff woff2 dwg dxf rvt skp stl step stp iges blend fbx max c4d
torrent nfo cue thumb thm mta dic aff lang po mo pot`

// Names of notes: endings that everybody can open, and words that they say.
var (
	noteEndings = [...]string{"txt", "html", "htm", "hta", "rtf", "bmp", "png", "url"}
	noteWords   = [...]string{"decrypt", "decript", "recover", "restore", "ransom", "unlock", "encrypted", "how_to", "how-to", "howto", "how to", "instruction", "readme_now", "attention", "your_files", "your files"}
)

// mayBeNote reports whether a file has an ending that notes have.
func (n *name) mayBeNote() bool {
	for _, ending := range noteEndings {
		if strings.EqualFold(n.text, ending) {
			return true
		}
	}
	return false
}

// saysSo reports whether a name says what a note says.
func saysSo(text string) bool {
	text = strings.ToLower(text)
	for _, word := range noteWords {
		if strings.Contains(text, word) {
			return true
		}
	}
	return false
}
