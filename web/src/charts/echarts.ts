// The parts of ECharts that exploring uses, in a chunk of their own. Canvas only and no
// tooltip component: nothing becomes HTML.
import { LineChart } from 'echarts/charts'
import { GridSimpleComponent } from 'echarts/components'
import { init, use as register } from 'echarts/core'
import { CanvasRenderer } from 'echarts/renderers'

register([LineChart, GridSimpleComponent, CanvasRenderer])

export { init }
export type { EChartsType } from 'echarts/core'
