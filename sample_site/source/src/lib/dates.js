/** Tuesday 8 January */
export const weekday = new Intl.DateTimeFormat("en-GB", { weekday: "long", day: "numeric", month: "long" });

/** Today or an earlier day as the local `YYYY-MM-DD`. */
export function isoDay(daysAgo = 0) {
  const date = new Date();
  date.setDate(date.getDate() - daysAgo);
  const pad = (number) => String(number).padStart(2, "0");
  return `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
}

/** `2030-01-08` as people say it: Today, Yesterday, Tuesday 8 January. */
export function sayDay(iso) {
  if (iso === isoDay()) return "Today";
  if (iso === isoDay(1)) return "Yesterday";
  // Noon, so that no time zone moves it to the neighbouring day.
  return weekday.format(new Date(`${iso}T12:00`));
}
