// How figures are spelled on the page.

export function seconds(value) {
  if (value === null || value === undefined) return "–";
  const ms = value * 1000;
  if (ms === 0) return "0 ms";
  return ms >= 1000 ? `${Math.round(ms).toLocaleString("en")} ms` : `${ms.toPrecision(4)} ms`;
}

// A rest is never rounded away: a gap of 0 % is a proof.
export function percent(fraction) {
  if (fraction === null || fraction === undefined) return "–";
  const value = fraction * 100;
  if (value <= 0) return "0 %";
  if (value < 1e-4) return "under 0.0001 %";
  return value >= 0.05 ? `${value.toFixed(1)} %` : `${value.toPrecision(1)} %`;
}
