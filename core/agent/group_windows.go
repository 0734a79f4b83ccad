package agent

import "os/exec"

func inOwnGroup(*exec.Cmd) {}
