"""The words of plain requests to describe a picture, by language: data of `picture_words`.

A request has no other words than these. `verbs` ask for a description by themselves. `asks` (what?) need a word of
`shown`: the picture, or what is seen in it. `fillers` say nothing more. `_` stands for a blank within a phrase; accents
do not matter. A word that asks for more than a caption says belongs nowhere here, so that the model answers.
"""

# Each language is a few lines of words.
# ruff: noqa: E501

from __future__ import annotations

JOINED = frozenset(("zh", "ja", "th", "ko"))
"""Written without blanks between words, or with endings that are looked for like words."""

VOCABULARY: dict[str, dict[str, str]] = {
    "en": {
        "verbs": "describe describing description caption captioned annotate identify how_would_you_describe",
        "asks": "what whats tell explain look_at looking_at check_out tell_me_about tell_us_about",
        "shown": """this that these those it them here there picture pictures image images img photo photos photograph
            photographs pic pics drawing drawings painting paintings screenshot screenshots sketch illustration scene
            snapshot attachment see seen seeing show shows shown showing depict depicts depicted visible happening going_on
            looking_at look_like looks_like make_out everything object objects thing things inside this_about that_about
            it_about picture_about image_about photo_about""",
        "fillers": """please pls plz hey hi hello ok okay now just so and can could would will may you u me us i we am is are s
            re was were be being does do_you do_u do_we do_i did_you to_me to_us for_me for_us the a an my our attached
            above following below briefly shortly in_detail in_one_sentence in_a_sentence in_a_few_words in_short in on of
            at give write want need would_like i_d have got exactly actually all let know_what any_idea wonder thanks
            thank_you detailed short brief to_see contain contains depicting""",
    },
    "de": {
        "verbs": """beschreib beschreibe beschreiben beschreibst beschreibt beschreibung bildbeschreibung beschrifte
            bildunterschrift caption""",
        "asks": "was zeig zeige erklär erkläre erzähl erzähle sag sage schau worum_geht_es worum_geht_s",
        "shown": """das dies dieses hier da bild bilder bildes bildern foto fotos fotografie aufnahme zeichnung gemälde
            screenshot siehst sehen sieht sehe seht zeigt zeigen abgebildet dargestellt erkennst erkennt erkennen passiert
            drauf darauf""",
        "fillers": """bitte mal mir uns doch denn eigentlich jetzt kannst könntest können könnten könnt kann_man kann_ich
            würdest würden du sie man ich wir es ist sind war gibt gib eine einen ein der die den dem des diese diesen
            diesem dieser mein meine meinem meinen meiner auf in im an von vom zu kurz kurze genau genaue ausführlich
            ausführliche in_einem_satz alles haben hast hallo hi hey ok schreib_mir schreib_eine erstelle_eine
            sagen ich_möchte ich_hätte_gern ich_hätte_gerne ich_brauche ich_will für_mich weißt danke so""",
    },
    "fr": {
        "verbs": "décris décrivez décrire décrit description légende légender caption c_est_quoi",
        "asks": "que quoi qu raconte dis dites montre explique expliquez expliquer parle regarde",
        "shown": """c_est ceci cela ça ici là image images photo photos photographie dessin dessins tableau scène capture
            vois voit voyez voyons voir montre représente représenté y_a_t_il y_a il_y_a se_passe passe apparaît""",
        "fillers": """est ce ce_qui c s il te vous plaît svp stp peux pouvez pourrais pourriez tu moi nous me on je j l la le
            les un une de d du des cette ces cet mon ma mes sur dans en y a t ai en_détail en_une_phrase brièvement
            dire bonjour salut fais_moi_une fais_une donne_moi donnez_moi écris_une écrivez_une je_veux je_voudrais merci
            exactement tout à donc sont détaillée courte""",
    },
    "es": {
        "verbs": """describe describa describir descríbeme descríbelo descríbela describas describes descripción que_es
            que_son leyenda caption""",
        "asks": "qué dime dígame cuéntame explica explícame mira muéstrame",
        "shown": """esto eso aquí ahí imagen imágenes foto fotos fotografía dibujo cuadro captura ves ve vemos veo ver muestra
            aparece hay sale pasa ocurre representa observas viendo mirando""",
        "fillers": """por_favor porfa puedes podrías puede podría podemos me nos tú usted yo se es son en de la el las los lo
            esta este estas estos mi mis una un hola ahora brevemente en_detalle con_detalle en_una_frase dame escribe_una
            haz_una quiero_una necesito_una para_mí gracias todo estoy está exactamente breve detallada""",
    },
    "pt": {
        "verbs": "descreva descreve descrever descreves descrição legenda legende o_que_é caption",
        "asks": "que diga diz conte conta fale fala explique explica mostre olha",
        "shown": """isso isto aqui aí imagem imagens foto fotos fotografia desenho quadro captura vê vês vemos vejo ver mostra
            aparece há tem acontece acontecendo representa vendo olhando""",
        "fillers": """o a os as por_favor pf pode podes poderia podemos consegue você tu me nos eu se é são está em de da do
            na no nas nos nesta nessa neste nesse desta dessa deste desse esta essa este esse minha meu uma um olá oi
            agora brevemente em_detalhes em_detalhe em_uma_frase dê_me quero_uma preciso_de_uma escreva_uma faça_uma
            obrigado obrigada tudo estou para_mim sobre exatamente breve detalhada""",
    },
    "it": {
        "verbs": "descrivi descrivimi descriva descrivere descrivete descrizione didascalia cos_è cosa_è che_è caption",
        "asks": "che cosa cos dimmi dica raccontami spiega spiegami mostrami guarda parlami",
        "shown": """questo questa quello qui qua immagine immagini foto fotografia disegno quadro schermata vedi vede vediamo
            vedo vedere mostra c_è ci_sono raffigura rappresenta succede raffigurato guardando vedendo""",
        "fillers": """puoi potresti si_può potrebbe per_favore perfavore per_piacere mi ci tu lei si è sono sto stai in di su
            nella nel sulla sul nell sull dell della del l la il lo le i un una mia mio ciao ora brevemente in_dettaglio
            in_una_frase per_me voglio_una vorrei_una scrivi_una dammi fai_una grazie tutto ciò esattamente breve
            dettagliata""",
    },
    "nl": {
        "verbs": "beschrijf beschrijven beschrijft beschrijving omschrijf omschrijven bijschrift caption",
        "asks": "wat vertel zeg toon leg_uit kijk",
        "shown": """dit dat hier foto fotos afbeelding afbeeldingen plaatje tekening schilderij schermafbeelding zie ziet
            zien toont gebeurt afgebeeld""",
        "fillers": """kun kan_je kan_jij kan_u kan_ik kunt zou je jij u mij me ons alsjeblieft alstublieft aub eens even is
            zijn er staat_er_op te op in van de het deze een mijn kort in_detail in_één_zin voor_mij ik we graag ik_wil
            geef_me schrijf_een over om precies allemaal alles hallo hoi nu eigenlijk naar korte uitgebreide dank_je
            bedankt""",
    },
    "pl": {
        "verbs": "opisz opiszesz opisać opis podpis co_to caption",
        "asks": "co powiedz pokaż wyjaśnij opowiedz",
        "shown": """to tu tutaj zdjęcie zdjęciu zdjęcia obraz obrazie obrazek obrazku obrazka fotografii fotografia rysunek
            rysunku widzisz widać widzę widzi przedstawia pokazuje dzieje znajduje""",
        "fillers": """proszę możesz mógłbyś mogłabyś czy mi mnie dla_mnie jest są się na w o ten te tym tego tę ty krótko
            dokładnie szczegółowo cześć teraz mój moje moim napisz daj chcę w_jednym_zdaniu dzięki""",
    },
    "ru": {
        "verbs": "опиши опишите описать описание опишешь подпиши подпись",
        "asks": "что чё расскажи расскажите скажи скажите объясни покажи посмотри",
        "shown": """это этом этой тут здесь там картинка картинке картинку картинки изображение изображении изображено
            изображён изображена фото фотография фотографии фотографию фотке рисунок рисунке скриншот скриншоте снимок
            снимке видишь видите видно вижу видим показано происходит нём ней""",
        "fillers": """пожалуйста плз мне нам ты вы я мы можешь можете мог бы могли на в о об эту эта этот то мою моём моей
            кратко коротко подробно вкратце в_одном_предложении привет есть же ли за такое сделай напиши дай хочу для_меня
            именно всё и спасибо""",
    },
    "uk": {
        "verbs": "опиши опишіть описати опис підпис",
        "asks": "що розкажи розкажіть скажи скажіть поясни",
        "shown": """це цьому цій тут там зображення зображенні зображено фото фотографії картинка картинці картинку малюнок
            малюнку світлина світлині бачиш бачите видно показано відбувається""",
        "fillers": """будь_ласка прошу мені нам ти ви я можеш можете міг би на в у цю цей ця те є за коротко детально докладно
            привіт таке зроби напиши все і дякую""",
    },
    "tr": {
        "verbs": """açıkla açıklar açıklayın açıklayabilir açıklama açıklaması betimle betimler betimleyin tarif tanımla
            tanımlar anlat anlatır""",
        "asks": "ne neler nedir neye söyle",
        "shown": """bu bunu burada şu resim resimde resmi resmin resme fotoğraf fotoğrafta fotoğrafı fotoğrafın görsel
            görselde görseli görüntü görüntüde görüyorsun görüyorsunuz görünüyor görebiliyorsun gördüğünü var gösteriyor
            oluyor bakıyorum çizim çizimi""",
        "fillers": """lütfen bana bize bir misin mısın musun mısınız misiniz içinde üzerinde kısaca detaylı ayrıntılı olarak
            merhaba selam sen ben et eder edin ver verir teşekkürler""",
    },
    "ar": {
        "verbs": "صف صفي اوصف أوصف وصف وصفا وصفاً تصف وصفك",
        "asks": "ما ماذا شو ايش إيش وش ايه إيه أخبرني اخبرني اشرح قل_لي",
        "shown": """هذا هذه هذي هنا الصورة الصوره صورة صوره صورتي الرسم الرسمة اللوحة ترى تراه تشاهد تشاهده يوجد تظهر يظهر
            نرى أرى يحدث محتوى دا ده""",
        "fillers": """من_فضلك لو_سمحت رجاء رجاءً لي هل يمكنك ممكن أن في على عن هي هو الذي التي بالتفصيل باختصار أنت مرحبا
            شكرا بإيجاز""",
    },
    "he": {
        "verbs": "תאר תארי תארו לתאר תיאור",
        "asks": "מה ספר ספרי תגיד תגידי הסבר",
        "shown": "זה זו זאת פה כאן תמונה בתמונה התמונה לתמונה הציור בציור רואה רואים לראות מופיע מוצג יש",
        "fillers": "את אתה אני לי בבקשה תוכל תוכלי אפשר האם של על הזו הזאת הזה בקצרה בפירוט קורה תודה שלום",
    },
    "hi": {
        "verbs": "वर्णन विवरण वर्णन_कर",
        "asks": "क्या बताओ बताइए बताएं बताएँ समझाओ",
        "shown": "यह ये इस इसमें यहाँ यहां तस्वीर चित्र फोटो छवि इमेज दिख दिखता दिखाई दिखाया देख देखते हो_रहा",
        "fillers": """कृपया मुझे का की के को में पर है हैं करें करो कीजिए करिए आप तुम रहा रहे रही दे देता सकते गया बारे
            एक संक्षेप विस्तार से नमस्ते इसका""",
    },
    "vi": {
        "verbs": "mô_tả miêu_tả chú_thích",
        "asks": "gì cho_tôi_biết nói kể",
        "shown": "đây này ảnh bức_ảnh hình hình_ảnh tấm_ảnh tấm_hình bức_tranh thấy nhìn_thấy xảy_ra",
        "fillers": """hãy vui_lòng làm_ơn giúp_tôi giúp_mình tôi mình bạn có_thể cái là có trong ở trên cho ngắn_gọn
            chi_tiết với được xin chào đang nhìn nội_dung của""",
    },
    "id": {
        "verbs": "jelaskan deskripsikan gambarkan deskripsi keterangan",
        "asks": "apa ceritakan katakan",
        "shown": "ini itu gambar foto gambarnya fotonya sini lihat terlihat melihat terjadi",
        "fillers": """tolong mohon yang di dalam pada kamu anda saya bisa bisakah ada isi tentang dengan singkat secara rinci
            detail dong ya saja sedang""",
    },
    "sv": {
        "verbs": "beskriv beskriva beskrivning bildtext",
        "asks": "vad berätta säg förklara",
        "shown": "det_här detta det den_här här bilden bild fotot foto teckningen ser syns visar föreställer händer",
        "fillers": """snälla tack kan_du kan_jag kan_man kunde skulle du mig oss för_mig är finns på i om en jag vi man kort
            detaljerat hej denna den min mitt som jag_vill_ha""",
    },
    "zh": {
        "verbs": "描述 形容 说明 說明 介绍 介紹 描绘 描写 解释 解釋 说说 讲讲 讲述",
        "asks": "什么 什麼 甚麼 啥 哪些 看看 看一下 看下",
        "shown": """这 這 那 此 图 圖 图片 圖片 照片 相片 图像 圖像 画 畫 画面 截图 看 看到 看见 看見 看得到 显示 顯示 内容 內容 里面
            裡面 上面""",
        "fillers": """请 請 请问 請問 帮 幫 帮我 幫我 帮忙 我 你 您 给 給 一下 一 张 張 幅 个 個 些 的 里 裡 裏 中 上 能 可以 吗 嗎
            呢 吧 啊 呀 有 是 在 都 告诉 告訴 用一句话 详细 詳細 简单 简短 简要 地 把 对 东西 東西 到 了 知道 所""",
    },
    "ja": {
        "verbs": "説明 説明し 説明して 説明する 描写 描写し 描写して 解説 解説して 記述 記述して キャプション",
        "asks": "何 なに なん なんだ 教えて",
        "shown": """これ この それ ここ 画像 写真 絵 イラスト 図 写って 映って 写る 映る 見え 見える 見えます 描かれて
            スクリーンショット""",
        "fillers": """を は が に の と も て ください 下さい くれる くれますか もらえますか ます ますか か です ですか でしょうか
            いる いますか います よ ね お願い お願いします できますか 詳しく 簡単に 一言で について には あなた 私 ありますか
            あります""",
    },
    "ko": {
        "verbs": "설명 설명해 묘사 묘사해 서술 서술해 캡션",
        "asks": "뭐 뭔 무엇 뭘 뭔지 알려 말해",
        "shown": "이게 이건 이것 이거 여기 사진 그림 이미지 화면 보여 보이 보는 보고 나와 나오",
        "fillers": """이 그 저 제 내 좀 줘 주세요 줄래 주실래요 줄래요 수 부탁 부탁해 합니다 드려요 자세히 간단히 짧게 나요 니 는 은
            을 를 가 에 에서 속 의 속에 거야 건가요 것 너 당신 나 지금 야 예요 에요 인가요 인지 이야 입니까 요 있는 있나요 있어
            있어요 있니 있 해줘 해주세요""",
    },
    "th": {
        "verbs": "อธิบาย บรรยาย",
        "asks": "อะไร บอก เล่า",
        "shown": "นี่ นี้ รูป ภาพ รูปภาพ เห็น",
        "fillers": """ช่วย ให้ หน่อย ครับ ค่ะ คะ คือ ใน ที่ คุณ ฉัน ผม กรุณา โปรด มี อยู่ บ้าง ได้ ไหม สิ่ง ของ กำลัง ดู ว่า
            สั้นๆ ละเอียด เกี่ยวกับ เป็น""",
    },
}  # fmt: skip
