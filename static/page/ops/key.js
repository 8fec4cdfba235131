/** The API key: for this tab only, and gone with it. */

const KEY = 'api-key';

/** @returns {string | null} */
export const keptKey = () => sessionStorage.getItem(KEY);

/** @param {string} key */
export const keepKey = (key) => sessionStorage.setItem(KEY, key);

export const forgetKey = () => sessionStorage.removeItem(KEY);
