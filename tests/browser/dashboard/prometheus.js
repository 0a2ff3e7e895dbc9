// What Grafana does between a dashboard's file and Prometheus: variables put in, a step chosen by the range and the
// panel's width, the answer as data frames with the legend's names.

import { FieldType, createDataFrame, rangeUtil, renderLegendFormat } from '@grafana/data';

// Grafana's own floor of a range's resolution, by the scrape interval that the data source is told.
export function steps(range, width, scrape) {
  const { intervalMs } = rangeUtil.calculateInterval(range, width, `${scrape}s`);
  const step = intervalMs / 1000;
  // https://grafana.com/docs/grafana/latest/datasources/prometheus/template-variables/
  const rate = Math.max(step + scrape, 4 * scrape);
  const whole = Math.round((range.to.valueOf() - range.from.valueOf()) / 1000);
  return { step, variables: { __interval: `${step}s`, __rate_interval: `${rate}s`, __range: `${whole}s` } };
}

// `$name`, `${name}` and `[[name]]` are the ways that Grafana writes one. One that is not known stays, and is an error.
export function filled(text, variables) {
  return text.replace(/\$\{(\w+)\}|\$(\w+)|\[\[(\w+)\]\]/g, (whole, a, b, c) => variables[a ?? b ?? c] ?? whole);
}

async function ask(url, path, parameters) {
  const answer = await fetch(`${url}/api/v1/${path}?${new URLSearchParams(parameters)}`);
  const { status, data, error, warnings } = await answer.json();
  if (status !== 'success') throw new Error(error ?? `HTTP ${answer.status}`);
  if (warnings?.length) throw new Error(warnings.join('; '));
  return data;
}

// The values that a variable of type `query` offers. Of its functions, the dashboard uses this one.
export async function offered(url, query) {
  const [, metric, label] = query.match(/^label_values\((\w+), *(\w+)\)$/) ?? [];
  if (!label) throw new Error(`a variable's query that is not known here: ${query}`);
  return ask(url, `label/${label}/values`, { 'match[]': metric });
}

// One target's series over the range, each as Grafana's data source gives them: a frame of times and one of values.
export async function series(url, target, range, { step, variables }) {
  const expr = filled(target.expr, variables);
  if (/\$\w|\$\{|\[\[/.test(expr)) throw new Error(`a variable that is not there: ${expr}`);
  const [start, end] = [range.from, range.to].map(time => Math.floor(time.valueOf() / 1000 / step) * step);
  const { result } = await ask(url, 'query_range', { query: expr, start, end, step });
  return result.map(({ metric, values }) => createDataFrame({
    refId: target.refId,
    fields: [
      { name: 'Time', type: FieldType.time, config: { interval: step * 1000 }, values: values.map(([time]) => time * 1000) },
      {
        name: 'Value', type: FieldType.number, labels: metric, values: values.map(([, value]) => number(value)),
        config: target.legendFormat ? { displayNameFromDS: renderLegendFormat(target.legendFormat, metric) } : {},
      },
    ],
  }));
}

// No value is a gap; so is the quotient of two zeros.
function number(text) {
  const value = text === '+Inf' ? Infinity : Number(text);
  return Number.isFinite(value) ? value : null;
}
