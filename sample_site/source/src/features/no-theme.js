/** Stands in for theme.js in the build without the dark theme, whose style sheet would come with it. */
export function addSwitch() {}
