//! `k6/html` and the pages of responses, as scripts see them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use crate::support::*;

/// What most tests look at.
const PAGE: &str = r##"<!DOCTYPE html><html lang="en"><head><title>A page</title></head><body>
<h1 id="top" class="big  red">Hello <em>you</em></h1>
<ul id="list"><li class="one" data-user-id="7">1</li><li data-flag="true" data-o='{"a":[1]}'>2</li><!--c--><li>3</li></ul>
<a id="next" href="../b?x=1#frag" rel="nofollow next">next</a>
<form id="f" action="/send" method="post">
 <input name="q" value="a b"><input type="checkbox" name="on" checked="checked"><input type="checkbox" name="off">
 <input name="gone" disabled="disabled"><textarea name="t">long</textarea>
 <select name="s"><option value="x">X</option><option value="y" selected>Y</option></select>
 <select name="m" multiple><option selected>1</option><option selected>2</option></select>
 <label for="b">L</label><button id="b" name="go" value="now" type="submit">Go</button>
</form>
<table><thead><tr><th>H</th></tr></thead><tbody><tr><td>1</td><td colspan="2">2</td></tr></tbody></table>
</body></html>"##;

/// A script whose checks look at `PAGE` as `doc`.
#[track_caller]
fn checks(body: &str) {
    let script = format!(
        "import {{ parseHTML }} from 'k6/html';
         import {{ check }} from 'k6';
         export default function () {{ const doc = parseHTML({PAGE:?}); check(doc, {{ {body} }}); }}"
    );
    Script::new(&script).run().all_checks_pass();
}

#[test]
fn selections_find_filter_and_walk_as_jquery_does() {
    checks(
        r##"
        find: (d) => d.find('li').size() === 3 && d.find('ul').find('li.one').text() === '1',
        single: (d) => d.single('li').size() === 1 && d.single('li').text() === '1',
        eq: (d) => d.find('li').eq(1).text() === '2' && d.find('li').eq(-1).text() === '3' && d.find('li').eq(9).size() === 0,
        firstlast: (d) => d.find('li').first().text() + d.find('li').last().text() === '13',
        filter: (d) => d.find('li').filter('.one').size() === 1
          && d.find('li').filter((i, e) => e.text() !== '2').size() === 2
          && d.find('li').filter(d.find('.one')).size() === 1,
        not: (d) => d.find('li').not('.one').size() === 2 && d.find('li').not((i) => i === 0).size() === 2
          && d.find('li').not(d.find('.one').get(0)).size() === 2,
        is: (d) => d.find('li').is('.one') && !d.find('li').is('p') && d.find('li').is((i) => i === 2),
        has: (d) => d.find('h1, ul').has('em').get(0).id() === 'top' && d.find('ul, h1').has(d.find('li')).size() === 1,
        closest: (d) => d.find('em').closest('h1').attr('id') === 'top' && d.find('em').closest('em').size() === 1,
        add: (d) => d.find('h1').add('ul').size() === 2 && d.find('h1').add(d.find('h1')).size() === 1,
        children: (d) => d.find('ul').children().size() === 3 && d.find('ul').children('.one').size() === 1,
        contents: (d) => d.find('ul').contents().size() === 4,
        parent: (d) => d.find('li').parent().size() === 1 && d.find('em').parents().size() === 3,
        until: (d) => d.find('em').parentsUntil('body').size() === 1
          && d.find('.one').nextUntil(d.find('li').last()).text() === '2'
          && d.find('li').last().prevUntil('.one', 'li').size() === 1,
        siblings: (d) => d.find('.one').siblings().size() === 2 && d.find('.one').next().text() === '2'
          && d.find('.one').nextAll().text() === '23' && d.find('li').last().prev().text() === '2'
          && d.find('li').last().prevAll('.one').size() === 1,
        end: (d) => d.find('ul').find('li').end().attr('id') === 'list',
        slice: (d) => d.find('li').slice(1).text() === '23' && d.find('li').slice(0, 2).text() === '12',
        index: (d) => d.find('li').eq(2).index() === 2 && d.find('li').index(d.find('.one')) === 0
          && d.find('.one').index('li') === 0 && d.find('li').index('p') === -1,
        each: (d) => { let all = ''; d.find('li').each((i, e) => { all += i + e.textContent(); }); return all === '011223'; },
        map: (d) => d.find('li').map((i, s) => s.text() + i).join() === '10,21,32',
        get: (d) => d.find('li').get().length === 3 && d.find('li').get(1).textContent() === '2' && d.find('li').get(9) === undefined,
        toArray: (d) => d.find('li').toArray()[2].text() === '3',
        invalid: (d) => d.find('li[').size() === 0,
        refused: (d) => { try { d.find(7); } catch (e) { return String(e).includes('as a selector'); } },"##,
    );
}

#[test]
fn selections_say_texts_attributes_values_and_data() {
    checks(
        r##"
        text: (d) => d.find('h1').text() === 'Hello you' && d.find('title').text() === 'A page',
        html: (d) => d.find('h1').html() === 'Hello <em>you</em>' && d.find('nothing').html() === '',
        attr: (d) => d.find('a').attr('rel') === 'nofollow next' && d.find('a').attr('none') === undefined
          && d.find('a').attr('none', 'x') === 'x',
        val: (d) => d.find('[name=q]').val() === 'a b' && d.find('[name=on]').val() === 'on'
          && d.find('textarea').val() === 'long' && d.find('[name=s]').val() === 'y'
          && d.find('[name=m]').val().join() === '1,2' && d.find('h1').val() === undefined,
        data: (d) => d.find('.one').data('userId') === 7 && d.find('.one').data().userID === 7
          && d.find('li').eq(1).data('flag') === true && d.find('li').eq(1).data('o').a[0] === 1
          && d.find('li').last().data() === undefined,
        serialize: (d) => d.find('form').serialize() === 'm=1&m=2&on=on&q=a+b&s=y&t=long',
        object: (d) => d.find('form').serializeObject().t === 'long',
        array: (d) => d.find('form').serializeArray().map((f) => f.name).join() === 'q,on,t,s,m',"##,
    );
}

#[test]
fn elements_have_the_dom_s_reading_half() {
    checks(
        r##"
        names: (d) => d.find('h1').get(0).nodeName() === 'h1' && d.find('h1').get(0).nodeType() === 1,
        id: (d) => d.find('h1').get(0).id() === 'top' && d.find('h1').get(0).className() === 'big  red'
          && d.find('h1').get(0).classList().join() === 'big,red',
        attributes: (d) => d.find('a').get(0).hasAttribute('rel') && d.find('a').get(0).getAttribute('id') === 'next'
          && d.find('a').get(0).attributes().rel.value === 'nofollow next' && d.find('a').get(0).getAttributeNode('id').name === 'id',
        inner: (d) => d.find('h1').get(0).innerHTML() === 'Hello <em>you</em>' && d.find('h1').get(0).textContent() === 'Hello you',
        children: (d) => d.find('ul').get(0).childElementCount() === 3 && d.find('ul').get(0).childNodes().length === 4
          && d.find('ul').get(0).children()[2].textContent() === '3',
        comment: (d) => d.find('ul').get(0).childNodes()[2].nodeType() === 8 && d.find('ul').get(0).childNodes()[2].nodeValue() === 'c',
        textnode: (d) => d.find('h1').get(0).firstChild().nodeValue() === 'Hello ' && d.find('h1').get(0).firstChild().nodeName() === '#text',
        around: (d) => d.find('.one').get(0).nextElementSibling().textContent() === '2'
          && d.find('.one').get(0).previousElementSibling() === undefined
          && d.find('.one').get(0).parentElement().id() === 'list'
          && d.find('ul').get(0).lastElementChild().textContent() === '3',
        query: (d) => d.find('body').get(0).querySelector('li').textContent() === '1'
          && d.find('body').get(0).querySelectorAll('li').length === 3
          && d.find('body').get(0).getElementsByTagName('li').length === 3
          && d.find('body').get(0).getElementsByClassName('one').length === 1,
        same: (d) => d.find('h1').get(0).isSameNode(d.find('#top').get(0)) && d.find('h1').get(0).contains(d.find('em').get(0))
          && !d.find('h1').get(0).contains(d.find('h1').get(0)) && d.find('h1').get(0).matches('.big'),
        document: (d) => d.find('h1').get(0).ownerDocument().nodeType() === 9,
        string: (d) => String(d.find('h1').get(0)) === '[object html.Node]',"##,
    );
}

#[test]
fn elements_of_a_tag_have_its_attributes_as_methods() {
    checks(
        r##"
        link: (d) => d.find('a').get(0).href() === '../b?x=1#frag' && d.find('a').get(0).search() === '?x=1'
          && d.find('a').get(0).hash() === '#frag' && d.find('a').get(0).relList().length === 2 && d.find('a').get(0).text() === 'next',
        input: (d) => d.find('input').get(0).type() === 'text' && d.find('input').get(1).checked() === true
          && d.find('input').get(0).maxLength() === -1 && d.find('input').get(0).name() === 'q',
        button: (d) => d.find('button').get(0).formMethod() === 'post' && d.find('button').get(0).formAction() === '/send'
          && d.find('button').get(0).value() === 'now' && d.find('button').get(0).form().id() === 'f'
          && d.find('button').get(0).labels()[0].textContent() === 'L' && d.find('label').get(0).control().id() === 'b',
        form: (d) => d.find('form').get(0).method() === 'post' && d.find('form').get(0).length() === 8
          && d.find('form').get(0).enctype() === 'application/x-www-form-urlencoded',
        select: (d) => d.find('select').get(0).selectedIndex() === 1 && d.find('select').get(0).value() === 'y'
          && d.find('select').get(1).type() === 'select-multiple' && d.find('option').get(1).index() === 1
          && d.find('option').get(0).selected() === false,
        table: (d) => d.find('table').get(0).rows().length === 2 && d.find('table').get(0).tHead().nodeName() === 'thead'
          && d.find('td').get(1).colSpan() === 2 && d.find('td').get(1).cellIndex() === 1 && d.find('tr').get(1).rowIndex() === 1,"##,
    );
}

/// Answers each request on `/` with the page, on all others with what was asked.
fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            std::thread::spawn(move || answer(stream));
        }
    });
    address
}

fn answer(mut stream: TcpStream) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let length = head
            .to_lowercase()
            .split_once("content-length: ")
            .map_or(0, |(_, rest)| {
                rest.split("\r\n").next().unwrap().parse::<usize>().unwrap()
            });
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let line = head.lines().next().unwrap();
        let said = if line.starts_with("GET /d/a ") {
            PAGE.to_owned()
        } else {
            format!("{line} | {}", String::from_utf8_lossy(&body))
        };
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{said}",
            said.len()
        )
        .ok()?;
    }
}

#[test]
fn responses_are_searched_their_forms_sent_and_their_links_followed() {
    let script = r##"
        import http from 'k6/http';
        import { check } from 'k6';
        export default function () {
          const page = http.get(`${__ENV.U}/d/a`);
          const wrong = (call) => { try { call(); } catch (e) { return String(e); } };
          check(page, {
            html: (p) => p.html().find('title').text() === 'A page' && p.html('li').size() === 3,
            url: (p) => p.html('a').get(0).href() === `${__ENV.U}/b?x=1#frag` && p.html('a').get(0).pathname() === '/b',
            form: (p) => p.submitForm().body === 'POST /send HTTP/1.1 | go=now&m=1&m=2&on=on&q=a+b&s=y&t=long',
            fields: (p) => p.submitForm({ formSelector: '#f', fields: { q: 'new', extra: 1 } }).body.includes('extra=1') ,
            binary: () => http.get(`${__ENV.U}/d/a`, { responseType: 'binary' }).html('li').size() === 3,
            link: (p) => p.clickLink().body === 'GET /b?x=1 HTTP/1.1 | ',
            selector: (p) => p.clickLink({ selector: 'a#next', params: { tags: { t: 'x' } } }).status === 200,
            noform: (p) => wrong(() => p.submitForm({ formSelector: '#none' })).includes("no form found for selector '#none'"),
            nolink: (p) => wrong(() => p.clickLink({ selector: '#none' })).includes("no element found for selector '#none'"),
            nobody: () => wrong(() => http.get('http://127.0.0.1:1/').html()).includes('the body is null'),
          });
        }"##;
    let address = serve();
    let ran = Script::new(script).args(["-e", &format!("U={address}")]);
    ran.run().all_checks_pass();
}

#[test]
fn pages_and_selectors_without_end_in_depth_are_refused_as_in_k6() {
    let script = r##"
        import { parseHTML } from 'k6/html';
        import { check } from 'k6';
        export default function () {
          let refused = '';
          try { parseHTML('<div>'.repeat(1000000)); } catch (e) { refused = e.message; }
          const deep = parseHTML('<div>'.repeat(500) + 'x');
          check(deep, {
            refused: () => refused === 'html: open stack of elements exceeds 512 nodes',
            text: (d) => d.find('body').text() === 'x' && d.find('div').size() === 500,
            html: (d) => d.find('body').html().length > 5000,
            has: (d) => d.find('body').has('div div div').size() === 1,
            selector: (d) => d.find(':not('.repeat(20000) + 'p' + ')'.repeat(20000)).size() === 0,
          });
        }"##;
    Script::new(script).run().all_checks_pass();
}

#[test]
fn parsed_pages_count_towards_their_vu_s_limits() {
    let script = r##"
        import { parseHTML } from 'k6/html';
        import { check } from 'k6';
        export default function () {
          const source = '<p>x</p>'.repeat(100000);
          const kept = [];
          let refused;
          try { for (let i = 0; i < 100; i += 1) kept.push(parseHTML(source)); } catch (e) { refused = e; }
          kept.length = 0;
          check(refused, {
            refused: (e) => e instanceof RangeError && e.message.includes('parsed pages'),
            freed: () => parseHTML(source).find('p').size() === 100000,
          });
        }"##;
    Script::new(script).run().all_checks_pass();
}
