package records

import (
	"sync"

	"github.com/picketwatch/picket/sdk"
)

// Shared is a frame that several readers are shown: it is decoded once, for all those that borrow.
type Shared struct {
	Frame []byte

	once    sync.Once
	decoder *BatchDecoder
	batch   sdk.Batch
	err     error
}

// decoders are those of one schema each: what one has decoded stays its memory.
var decoders [16]sync.Pool

// Decode returns the records of the frame as a BatchDecoder that borrows does. All who ask get the same ones, and must not change
// them. They are valid until Release.
func (s *Shared) Decode() (sdk.Batch, error) {
	s.once.Do(func() {
		if s.decoder, _ = pool(s.Frame).Get().(*BatchDecoder); s.decoder == nil {
			s.decoder = &BatchDecoder{Borrow: true}
		}
		s.batch, s.err = s.decoder.Decode(s.Frame)
	})
	return s.batch, s.err
}

// Release is called when nobody reads the frame any more.
func (s *Shared) Release() {
	if s.decoder != nil {
		pool(s.Frame).Put(s.decoder)
		s.decoder, s.batch = nil, sdk.Batch{}
	}
}

func pool(frame []byte) *sync.Pool { return &decoders[int(SchemaOf(frame))%len(decoders)] }
