package lateral

import "github.com/picketwatch/picket/sdk"

// kind is what a host does to another one.
type kind uint8

const (
	none       kind = iota
	program         // copies a program to a share for administrators
	service         // makes or changes a service
	task            // makes a task
	process         // starts a process by WMI
	object          // uses an object of another host by DCOM
	shell           // opens a shell by WinRM
	winrm           // asks by WinRM
	secrets         // takes the passwords in the registry
	dcsync          // asks a domain controller for everybody's passwords
	coercion        // makes a host log in somewhere
	kerberoast      // gets tickets that give passwords away
	spreading       // acts on many hosts
	newPair         // acts where it never did
	kinds

	// What is usual between hosts, and only told when it is new.
	ssh
	rdp
	share // for administrators
)

// techniqueOf is what is new where it was never done.
func techniqueOf(k kind) string {
	switch k {
	case ssh:
		return "T1021.004"
	case rdp:
		return "T1021.001"
	case winrm, shell:
		return "T1021.006"
	case process:
		return "T1047"
	case object:
		return "T1021.003"
	}
	return "T1021.002"
}

// rule is what is said of a kind.
type rule struct {
	id, purpose, does string
	techniques        []string
	severity          sdk.Severity
	confidence        float64
	benign            string
}

var rules = [kinds]rule{
	program: {"program-copied", "A program was written to a share that only administrators may use.", "copied a program to an administrators' share of",
		[]string{"T1021.002", "T1570"}, sdk.SeverityMedium, 0.7, "Software distribution, and administrators who copy by hand."},
	service: {"service-made", "A service was made or changed on another host.", "made or changed a service on",
		[]string{"T1569.002", "T1543.003", "T1021.002"}, sdk.SeverityMedium, 0.75, "Software distribution, and agents that are installed remotely."},
	task: {"task-made", "A task was made on another host.", "made a scheduled task on",
		[]string{"T1053.005"}, sdk.SeverityMedium, 0.75, "Administrators who schedule tasks on servers."},
	process: {"wmi", "A method was called by WMI on another host, as it starts processes.", "called a method by WMI on",
		[]string{"T1047"}, sdk.SeverityMedium, 0.65, "Inventory and monitoring that works by WMI."},
	object: {"dcom", "An object of another host was used by DCOM, as it starts programs.", "used an object by DCOM on",
		[]string{"T1021.003"}, sdk.SeverityMedium, 0.6, "Programs of old that are distributed over hosts."},
	shell: {"winrm-shell", "A PowerShell was opened by WinRM on another host.", "opened a PowerShell by WinRM on",
		[]string{"T1021.006"}, sdk.SeverityMedium, 0.6, "Administrators who use PowerShell remotely."},
	winrm: {"winrm", "Another host was managed by WinRM.", "managed by WinRM",
		[]string{"T1021.006"}, sdk.SeverityLow, 0.4, "Management, inventory and monitoring that works by WinRM."},
	secrets: {"registry-saved", "Parts of the registry, where passwords are, were saved on another host.", "saved parts of the registry of",
		[]string{"T1003.002"}, sdk.SeverityHigh, 0.8, "Backups that save the registry remotely."},
	dcsync: {"dcsync", "A host that is no domain controller asked one to replicate secrets.", "asked for everybody's secrets as if it were a domain controller of",
		[]string{"T1003.006"}, sdk.SeverityHigh, 0.9, "Directory synchronisation, and a domain controller of which nothing else was seen."},
	coercion: {"coercion", "A call was made that lets a host log in to any other one.", "called what makes a host log in elsewhere on",
		[]string{"T1187"}, sdk.SeverityHigh, 0.75, "Administration of encrypted files or of distributed file systems."},
	kerberoast: {"kerberoast", "Tickets with old encryption, from which passwords can be guessed, were got for services.", "",
		[]string{"T1558.003"}, sdk.SeverityMedium, 0.6, "Old clients and services that know nothing better than RC4."},
	spreading: {"spreading", "One host called such procedures on many others within an hour.", "",
		[]string{"T1021"}, sdk.SeverityHigh, 0.8, "Software distribution: name it in administrators."},
	newPair: {"new-pair", "A host logged in to another one, or managed it, which it had not done while usual pairs were learned.", "for the first time logged in to or managed",
		[]string{"T1021"}, sdk.SeverityLow, 0.4, "New servers, new administrators, new tasks."},
}
