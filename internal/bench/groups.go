package main

func groups() []group { return nil }
