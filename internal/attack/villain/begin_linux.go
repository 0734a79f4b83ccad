package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/sdk"
)

type hostOf = sdk.Host

// What the host gave, before the SDK takes it out of the environment.
var recordsPlane, brokerSocket string

// begin reads the mood that the test wrote behind the end of this program, for what is done before the first call.
func begin() {
	recordsPlane, brokerSocket = own("PICKET_RECORDS_FD"), own("PICKET_BROKER_FD")
	switch mood := ownMood(); mood {
	case "":
	case "version":
		fmt.Println("99|1|unix|/tmp/s|grpc|")
		time.Sleep(time.Hour)
	case "protocol":
		fmt.Println("1|99|unix|/tmp/s|grpc|")
		time.Sleep(time.Hour)
	case "elsewhere":
		fmt.Println("1|1|tcp|127.0.0.1:1|grpc|")
		time.Sleep(time.Hour)
	case "deaf": // it never looks at its lifeline
		_ = os.Unsetenv("PICKET_LIFELINE_FD")
	case "silent":
		time.Sleep(time.Hour)
	default:
		beginBadly(mood)
	}
}

// own keeps a descriptor of its own for what the SDK takes and closes.
func own(name string) string {
	fd, err := strconv.Atoi(os.Getenv(name))
	if err != nil {
		return ""
	}
	again, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 100)
	if err != nil {
		return ""
	}
	return strconv.Itoa(again)
}

const trailerSize = 64

func ownMood() string {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return ""
	}
	b := make([]byte, trailerSize)
	if _, err := f.ReadAt(b, info.Size()-trailerSize); err != nil {
		return ""
	}
	parts := strings.Split(string(b), ":")
	if len(parts) < 3 || parts[0] != "picket-villain" {
		return ""
	}
	return parts[1]
}
