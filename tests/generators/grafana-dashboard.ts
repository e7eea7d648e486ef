import type { Dashboard, DataQuery, FieldConfigSource, Panel } from "@grafana/schema";
import type { Options as Stat } from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type { FieldConfig as Graph, Options as TimeSeries } from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";

/** A type with the texts that JSON has instead of enumerations. */
type Json<T> = T extends string ? `${T}` : T extends object ? { [Key in keyof T]: Json<T[Key]> } : T;

/** Options that are not there have the panel's defaults, at any depth. */
type Some<T> = T extends unknown[] ? T : T extends object ? { [Key in keyof T]?: Some<T[Key]> } : T;

/** The schema leaves open what depends on the kind of panel, and on the data source. */
type Shown<Kind extends string, Options, Custom> = Omit<Panel, "type" | "options" | "fieldConfig" | "targets"> & {
  type: Kind;
  options: Some<Options>;
  fieldConfig: FieldConfigSource<Custom>;
  targets: (DataQuery & { expr: string; legendFormat: string })[];
};

export type Checked = Json<
  Omit<Dashboard, "panels"> & { panels: (Shown<"timeseries", TimeSeries, Graph> | Shown<"stat", Stat, unknown>)[] }
>;
