// The module `k6/html`. Selections stand in `dchat:selection`, elements in `dchat:element`.
import { parse } from 'dchat:selection';

export const parseHTML = (source) => parse(String(source), '');

export default { parseHTML };
