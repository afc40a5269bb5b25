/** Positions as maps need them. */

/** The longitude plus or minus whole turns, as near as possible to another, so that tracks over the 180th meridian
 * stay in one piece. */
export const unwrapLongitude = (lng, other) => lng + 360 * Math.round((other - lng) / 360);
