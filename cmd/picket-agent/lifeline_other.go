//go:build !unix

package main

import "errors"

func watchLifeline(int, func()) error {
	return errors.New("descriptors are not inherited on this system")
}
