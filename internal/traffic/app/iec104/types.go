package iec104

import "github.com/picketwatch/picket/internal/traffic/app/ot"

type kind struct {
	name   string
	size   int // of an object behind its address, below 0 when it has a length of its own
	action ot.Action
}

// types of application data, IEC 60870-5-101 section 7.2.1 and IEC 60870-5-104 section 8.
var types = map[uint8]kind{
	1: {"M_SP_NA_1", 1, ot.Other}, 2: {"M_SP_TA_1", 4, ot.Other}, 3: {"M_DP_NA_1", 1, ot.Other}, 4: {"M_DP_TA_1", 4, ot.Other},
	5: {"M_ST_NA_1", 2, ot.Other}, 6: {"M_ST_TA_1", 5, ot.Other}, 7: {"M_BO_NA_1", 5, ot.Other}, 8: {"M_BO_TA_1", 8, ot.Other},
	9: {"M_ME_NA_1", 3, ot.Other}, 10: {"M_ME_TA_1", 6, ot.Other}, 11: {"M_ME_NB_1", 3, ot.Other}, 12: {"M_ME_TB_1", 6, ot.Other},
	13: {"M_ME_NC_1", 5, ot.Other}, 14: {"M_ME_TC_1", 8, ot.Other}, 15: {"M_IT_NA_1", 5, ot.Other}, 16: {"M_IT_TA_1", 8, ot.Other},
	17: {"M_EP_TA_1", 6, ot.Other}, 18: {"M_EP_TB_1", 7, ot.Other}, 19: {"M_EP_TC_1", 7, ot.Other}, 20: {"M_PS_NA_1", 5, ot.Other}, 21: {"M_ME_ND_1", 2, ot.Other},
	30: {"M_SP_TB_1", 8, ot.Other}, 31: {"M_DP_TB_1", 8, ot.Other}, 32: {"M_ST_TB_1", 9, ot.Other}, 33: {"M_BO_TB_1", 12, ot.Other},
	34: {"M_ME_TD_1", 10, ot.Other}, 35: {"M_ME_TE_1", 10, ot.Other}, 36: {"M_ME_TF_1", 12, ot.Other}, 37: {"M_IT_TB_1", 12, ot.Other},
	38: {"M_EP_TD_1", 10, ot.Other}, 39: {"M_EP_TE_1", 11, ot.Other}, 40: {"M_EP_TF_1", 11, ot.Other},

	45: {"C_SC_NA_1", 1, ot.Operate}, 46: {"C_DC_NA_1", 1, ot.Operate}, 47: {"C_RC_NA_1", 1, ot.Operate}, 48: {"C_SE_NA_1", 3, ot.Operate},
	49: {"C_SE_NB_1", 3, ot.Operate}, 50: {"C_SE_NC_1", 5, ot.Operate}, 51: {"C_BO_NA_1", 4, ot.Operate},
	58: {"C_SC_TA_1", 8, ot.Operate}, 59: {"C_DC_TA_1", 8, ot.Operate}, 60: {"C_RC_TA_1", 8, ot.Operate}, 61: {"C_SE_TA_1", 10, ot.Operate},
	62: {"C_SE_TB_1", 10, ot.Operate}, 63: {"C_SE_TC_1", 12, ot.Operate}, 64: {"C_BO_TA_1", 11, ot.Operate},

	70:  {"M_EI_NA_1", 1, ot.Other},
	100: {"C_IC_NA_1", 1, ot.Read}, 101: {"C_CI_NA_1", 1, ot.Read}, 102: {"C_RD_NA_1", 0, ot.Read}, 103: {"C_CS_NA_1", 7, ot.Write},
	104: {"C_TS_NA_1", 2, ot.Other}, 105: {"C_RP_NA_1", 1, ot.Restart}, 106: {"C_CD_NA_1", 2, ot.Other}, 107: {"C_TS_TA_1", 9, ot.Other},
	110: {"P_ME_NA_1", 3, ot.Write}, 111: {"P_ME_NB_1", 3, ot.Write}, 112: {"P_ME_NC_1", 5, ot.Write}, 113: {"P_AC_NA_1", 1, ot.Write},

	120: {"F_FR_NA_1", 6, ot.Program}, 121: {"F_SR_NA_1", 7, ot.Program}, 122: {"F_SC_NA_1", 4, ot.Program}, 123: {"F_LS_NA_1", 5, ot.Program},
	124: {"F_AF_NA_1", 4, ot.Program}, 125: {"F_SG_NA_1", -1, ot.Program}, 126: {"F_DR_TA_1", 13, ot.Program}, 127: {"F_SC_NB_1", 16, ot.Program},
}
