package passive

// fact is one thing that is said of a device.
type fact struct{ name, value string }

// facts are what one record says; those without a value are left out.
type facts []fact

// set says one thing, in the place of what was said of it before.
func (f facts) set(name, value string) facts {
	for i := range f {
		if f[i].name == name {
			f[i].value = value
			return f
		}
	}
	return append(f, fact{name, value})
}

// get is what was said of a thing, "" for nothing.
func (f facts) get(name string) string {
	for i := range f {
		if f[i].name == name {
			return f[i].value
		}
	}
	return ""
}

// means adds what a description means, and more, which wins.
func (f facts) means(m meant, more ...fact) facts {
	f = append(f, fact{"os", m.os}, fact{"role", m.role}, fact{"vendor", m.vendor})
	for _, one := range more {
		f = f.set(one.name, one.value)
	}
	return f
}
