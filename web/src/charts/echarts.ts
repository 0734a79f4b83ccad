// The parts of ECharts that we use, in a chunk of their own. Canvas only and no
// tooltip component: nothing becomes HTML.
import { LineChart } from 'echarts/charts'
import { AxisPointerComponent, GridComponent } from 'echarts/components'
import { connect, init, use as register } from 'echarts/core'
import { CanvasRenderer } from 'echarts/renderers'

register([LineChart, GridComponent, AxisPointerComponent, CanvasRenderer])
connect('host')
connect('own')

export { init }
export type { EChartsType } from 'echarts/core'
