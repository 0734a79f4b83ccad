package gojumps

// Hollow returns the module with functions that do nothing but trap, for a runtime that has their machine code already
// and would only check them again. Like Rewrite it returns what it cannot read as it is, and then says no.
func Hollow(module []byte) (out []byte, ok bool) {
	r := &reader{b: module}
	return eachSection(r, func(section []byte) ([]byte, bool) {
		code := &reader{b: section}
		count := code.u32()
		hollow := appendU32(nil, count)
		for ; count > 0 && !code.bad; count-- {
			code.skip(int(code.u32()))
			hollow = append(hollow, 3, 0, opUnreachable, opEnd) // its size, no variables
		}
		return hollow, !code.bad && code.at == len(section)
	})
}

// eachSection copies a module, with another section of code.
func eachSection(r *reader, code func(section []byte) ([]byte, bool)) (out []byte, ok bool) {
	r.skip(8) // magic and version
	out = append(make([]byte, 0, len(r.b)+len(r.b)/8), r.b[:r.at]...)
	for r.at < len(r.b) && !r.bad {
		from := r.at
		id := r.byte()
		size := r.u32()
		at := r.at
		r.skip(int(size))
		if r.bad {
			break
		}
		if id != sectionCode {
			out = append(out, r.b[from:r.at]...)
			continue
		}
		section, ok := code(r.b[at:r.at])
		if !ok {
			return r.b, false
		}
		out = append(out, id)
		out = appendU32(out, uint32(len(section)))
		out = append(out, section...)
	}
	if r.bad {
		return r.b, false
	}
	return out, true
}
