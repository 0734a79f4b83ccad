package sigma

import (
	"slices"
	"strconv"
	"strings"

	"github.com/picketwatch/picket/sdk"
)

// endpoint is an interface of remote procedure calls under the name that Zeek gives it, and the names of its operations by number; where
// there are several, they stand for the same.
type endpoint struct {
	name       string
	operations map[int][]string
}

// numbered are operations in a row from a number on; a dash stands for one that rules do not name.
func numbered(from int, names string) map[int][]string {
	out := map[int][]string{}
	for i, name := range strings.Fields(names) {
		if name != "-" {
			out[from+i] = strings.Split(name, "/")
		}
	}
	return out
}

func also(operations map[int][]string, from int, names string) map[int][]string {
	for n, list := range numbered(from, names) {
		operations[n] = list
	}
	return operations
}

// endpoints are the interfaces by which hosts are controlled, by UUID, from the specifications that Microsoft has published.
var endpoints = map[string]endpoint{
	"367abb81-9844-35f1-ad32-98f038001003": {"svcctl", also(numbered(0, `CloseServiceHandle ControlService DeleteService LockServiceDatabase
		QueryServiceObjectSecurity SetServiceObjectSecurity QueryServiceStatus SetServiceStatus UnlockServiceDatabase NotifyBootConfigStatus -
		ChangeServiceConfigW CreateServiceW EnumDependentServicesW EnumServicesStatusW OpenSCManagerW OpenServiceW QueryServiceConfigW
		QueryServiceLockStatusW StartServiceW GetServiceDisplayNameW GetServiceKeyNameW - ChangeServiceConfigA CreateServiceA
		EnumDependentServicesA EnumServicesStatusA OpenSCManagerA OpenServiceA QueryServiceConfigA QueryServiceLockStatusA StartServiceA
		GetServiceDisplayNameA GetServiceKeyNameA - EnumServiceGroupW ChangeServiceConfig2A ChangeServiceConfig2W QueryServiceConfig2A
		QueryServiceConfig2W QueryServiceStatusEx EnumServicesStatusExA EnumServicesStatusExW`), 44, `CreateServiceWOW64A CreateServiceWOW64W`)},
	"1ff70682-0a51-30e8-076d-740be8cee98b": {"atsvc", numbered(0, `NetrJobAdd/JobAdd NetrJobDel/JobDel NetrJobEnum/JobEnum NetrJobGetInfo/JobGetInfo`)},
	"86d35949-83c9-4044-b424-db363231fd0c": {"ITaskSchedulerService", numbered(0, `SchRpcHighestVersion SchRpcRegisterTask SchRpcRetrieveTask
		SchRpcCreateFolder SchRpcSetSecurity SchRpcGetSecurity SchRpcEnumFolders SchRpcEnumTasks SchRpcEnumInstances SchRpcGetInstanceInfo
		SchRpcStopInstance SchRpcStop SchRpcRun SchRpcDelete SchRpcRename SchRpcScheduledRuntimes SchRpcGetLastRunInfo SchRpcGetTaskInfo
		SchRpcGetNumberOfMissedRuns SchRpcEnableTask`)},
	"9556dc99-828c-11cf-a37e-00aa003240c7": {"IWbemServices", numbered(3, `OpenNamespace CancelAsyncCall QueryObjectSink GetObject GetObjectAsync
		PutClass PutClassAsync DeleteClass DeleteClassAsync CreateClassEnum CreateClassEnumAsync PutInstance PutInstanceAsync DeleteInstance
		DeleteInstanceAsync CreateInstanceEnum CreateInstanceEnumAsync ExecQuery ExecQueryAsync ExecNotificationQuery
		ExecNotificationQueryAsync ExecMethod ExecMethodAsync`)},
	"12345678-1234-abcd-ef00-0123456789ab": {"spoolss", also(also(also(numbered(0, `RpcEnumPrinters RpcOpenPrinter - - - RpcAddPrinter
		RpcDeletePrinter - - RpcAddPrinterDriver RpcEnumPrinterDrivers RpcGetPrinterDriver RpcGetPrinterDriverDirectory
		RpcDeletePrinterDriver RpcAddPrintProcessor RpcEnumPrintProcessors RpcGetPrintProcessorDirectory RpcStartDocPrinter`), 46,
		`RpcAddMonitor RpcDeleteMonitor RpcDeletePrintProcessor`), 65, `RpcRemoteFindFirstPrinterChangeNotificationEx`), 89, `RpcAddPrinterDriverEx`)},
	"76f03f96-cdfd-44fc-a22c-64950a001209": {"IRemoteWinspool", also(also(also(numbered(0, `RpcAsyncOpenPrinter RpcAsyncAddPrinter`), 39,
		`RpcAsyncAddPrinterDriver`), 44, `RpcAsyncAddPrintProcessor`), 51, `RpcAsyncAddMonitor RpcAsyncDeleteMonitor RpcAsyncDeletePrintProcessor`)},
	"12b81e99-f207-4a4c-85d3-77b42f76fd14": {"ISecLogon", numbered(0, `SeclCreateProcessWithLogonW SeclCreateProcessWithLogonExW`)},
	"c681d488-d850-11d0-8c52-00c04fd90f7e": {"efs", encryption},
	"df1941c5-fe89-4e79-bf10-463657acf44d": {"efsrpc", encryption},
	"e3514235-4b06-11d1-ab04-00c04fc2dcd2": {"drsuapi", numbered(0, `DRSBind DRSUnbind DRSReplicaSync DRSGetNCChanges DRSUpdateRefs DRSReplicaAdd
		DRSReplicaDel DRSReplicaModify DRSVerifyNames DRSGetMemberships DRSInterDomainMove DRSGetNT4ChangeLog DRSCrackNames DRSWriteSPN
		DRSRemoveDsServer DRSRemoveDsDomain DRSDomainControllerInfo DRSAddEntry`)},
	"4fc742e0-4a10-11cf-8273-00aa004ae673": {"netdfs", numbered(12, `NetrDfsAddStdRoot NetrDfsRemoveStdRoot`)},
	"338cd001-2244-31f1-aaaa-900038001003": {"winreg", also(also(numbered(0, `OpenClassesRoot OpenCurrentUser OpenLocalMachine
		OpenPerformanceData OpenUsers BaseRegCloseKey BaseRegCreateKey BaseRegDeleteKey BaseRegDeleteValue BaseRegEnumKey BaseRegEnumValue`), 15,
		`BaseRegOpenKey BaseRegQueryInfoKey BaseRegQueryValue - - BaseRegSaveKey - BaseRegSetValue`), 31, `BaseRegSaveKeyEx`)},
	"4b324fc8-1670-01d3-1278-5a47bf6ee188": {"srvsvc", numbered(8, `NetrConnectionEnum NetrFileEnum NetrFileGetInfo NetrFileClose NetrSessionEnum
		NetrSessionDel NetrShareAdd NetrShareEnum NetrShareGetInfo NetrShareSetInfo NetrShareDel`)},
	"6bffd098-a112-3610-9833-46c3f87e345a": {"wkssvc", numbered(0, `NetrWkstaGetInfo NetrWkstaSetInfo NetrWkstaUserEnum`)},
}

// encryption are the operations of [MS-EFSR].
var encryption = numbered(0, `EfsRpcOpenFileRaw EfsRpcReadFileRaw EfsRpcWriteFileRaw EfsRpcCloseRaw EfsRpcEncryptFileSrv EfsRpcDecryptFileSrv
	EfsRpcQueryUsersOnFile EfsRpcQueryRecoveryAgents EfsRpcRemoveUsersFromFile EfsRpcAddUsersToFile - - EfsRpcFileKeyInfo
	EfsRpcDuplicateEncryptionInfoFile - EfsRpcAddUsersToFileEx EfsRpcFileKeyInfoEx - EfsRpcGetEncryptedFileMetadata
	EfsRpcSetEncryptedFileMetadata EfsRpcFlushEfsCache`)

// procedures are all words that calls may have: a rule that looks for another one would never find it. The rules of MITRE mix up which
// is the endpoint and which the operation.
var procedures = func() (out []string) {
	for _, e := range endpoints {
		out = append(out, e.name)
		for _, names := range e.operations {
			out = append(out, names...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}()

func (r *record) readCall(m *sdk.Message) kind {
	if m.Name != "call" {
		return none
	}
	e, known := endpoints[m.Text]
	if !known {
		return none
	}
	operation, err := strconv.Atoi(m.Fields["operation"])
	if err != nil {
		operation = 0 // what is zero is left out
	}
	names := e.operations[operation]
	r.text(rpcEndpoint, e.name)
	r.list(rpcOperation, names)
	r.what, r.rest = e.name, ""
	if len(names) > 0 {
		r.what = names[0]
	}
	return call
}
