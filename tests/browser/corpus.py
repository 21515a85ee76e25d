"""Two hundred texts that would run, break out of an attribute, or be taken for something else, if a page let them."""

from itertools import product

_RUN = "window.ran=1"
_WAYS_OUT = ("", '">', "'>", "-->", "</title></textarea></style></script>", "]]>")
"""Of what a text may stand in."""
_ELEMENTS = (
    f"<script>{_RUN}</script>",
    f"<ScRiPt >{_RUN}</sCrIpT>",
    f"<img src=x onerror={_RUN}>",
    f"<img/src=x/onerror={_RUN}>",
    f"<svg onload={_RUN}>",
    f"<svg><script>{_RUN}</script></svg>",
    f"<svg><a href='javascript:{_RUN}'><text y=9>x</text></a></svg>",
    f"<math><mi//xlink:href='data:x,<script>{_RUN}</script>'>",
    "<iframe srcdoc='<script>parent.ran=1</script>'></iframe>",
    f"<body onpageshow={_RUN}>",
    f"<details open ontoggle={_RUN}>",
    f"<input autofocus onfocus={_RUN}>",
    f"<video><source onerror={_RUN}></video>",
    f"<object data='javascript:{_RUN}'></object>",
    f"<a href='javascript:{_RUN}'>x</a>",
    f"<form action='javascript:{_RUN}'><button>x</button></form>",
    "<meta http-equiv=refresh content='0;url=data:text/html,x'>",
    "<base href='//evil.example/'>",
    "<link rel=stylesheet href='//evil.example/x.css'>",
    "<style>@import '//evil.example/x.css';*{display:none}</style>",
    "<img src='//evil.example/x.png'>",
    f"<template><script>{_RUN}</script></template>",
    f"<noscript><p title='</noscript><img src=x onerror={_RUN}>'>",
)
_ATTRIBUTES = (
    f'" onmouseover={_RUN} x="',
    f"' onmouseover={_RUN} x='",
    f"` onmouseover={_RUN} x=`",
    f'" autofocus onfocus={_RUN} tabindex=0 x="',
    f'" style="animation:x" onanimationstart={_RUN} x="',
    f'x" data-cmd="gate.open" onclick={_RUN} y="',
)
_OTHERS = (
    f"javascript:{_RUN}",
    f"JaVaScRiPt:{_RUN}//",
    f"data:text/html,<script>{_RUN}</script>",
    f"${{{_RUN}}}",
    f"{{{{constructor.constructor('{_RUN}')()}}}}",
    f"#{{{_RUN}}}",
    f"<%= {_RUN} %>",
    "<!--?lit$123456789$-->",
    "lit$123456789$",
    "<?lit$0$>",
    "{time} {name} {seconds} {__proto__}",
    "$& $1 $` $' $$",
    "&lt;script&gt;window.ran=1&lt;/script&gt;",
    "&#60;img src=x onerror=window.ran=1&#62;",
    "&amp;amp; &nbsp; &copy &#x41;",
    "\\u003cscript\\u003ewindow.ran=1\\u003c/script\\u003e",
    "%3Cscript%3Ewindow.ran=1%3C/script%3E",
    "__proto__",
    "constructor",
    "toString",
    "hasOwnProperty",
    "null",
    "undefined",
    "NaN",
    "[object Object]",
    "=HYPERLINK('//evil.example')",
    "@SUM(1)|cmd",
    "'; DROP TABLE events; --",
    "../../../etc/passwd",
    "data: x id: 9 event: state",
    "\u202eKCOL\u202c 正常",
    "a\u200bb\u200dc\ufeffd",
    "𝕏𝕊𝕊 🚒🔥",
    "\uff1cscript\uff1ewindow.ran=1\uff1c/script\uff1e",
    "¼script¾window.ran=1¼/script¾",
    "<" * 190,
    "&" * 190,
    "粤" * 190,
)
COUNT = 200
CORPUS = [*(way + one for one, way in product(_ELEMENTS, _WAYS_OUT)), *_ATTRIBUTES, *_OTHERS]
CORPUS += [f"{number} 号楼 {way}{one}" for number, (one, way) in enumerate(product(_ATTRIBUTES, _WAYS_OUT), 1)]
CORPUS = list(dict.fromkeys(CORPUS))[:COUNT]
