"""Words of the languages whose festival voices cannot read English, as endless texts from a seed.

A voice that reads its own language has its own rhythm and all of its sound pairs; sense does not matter.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial
from typing import Final

from export.speech.corpus.shard import Texts

WORDS: Final = {
    "russian": """мама папа вода молоко магазин город река погода завтра вечером мальчик девочка бабушка большой белый
    быстро книга письмо время весна зима лето осень море берег пароход машина дорога поезд вокзал улица площадь музей
    человек люди работа дело мысль память помню думаю говорю пишу читаю вижу слышу люблю живу иду бегу плыву лампа
    рыба хлеб масло сыр вино пиво фрукты яблоко лимон банан арбуз помидор капуста овощи обед ужин завтрак кофе чай
    мост дом комната окно дверь пол стена стол стул шкаф кровать подушка фонарь ветер снег дождь туман облако небо
    солнце луна звезда земля лес поле гора озеро птица собака кошка медведь волк лошадь корова муха бабочка
    первый второй третий новый старый умный добрый весёлый тёплый холодный красивый опасный важный особенный
    потом вместе всегда никогда почему можно нельзя пожалуйста спасибо вот это там мой твой наш ваш они мы вы
    купил пошёл вернулся поставил забыл открыл написал увидел понял решил помог обманул выпил вымыл побежал""",
    "italian": """mamma papà bambino amico famiglia tavolo finestra porta penna libro parola voce vento mare fiume
    montagna ponte piazza museo palazzo vapore battello bello buono piccolo grande nuovo vecchio primo ultimo bianco
    rosso verde profumo fiore foglia albero pane vino formaggio pomodoro pesce carne limone arancia uva zuppa
    mangiare bere dormire parlare vedere sapere volere potere aprire chiudere portare prendere lavoro vita tempo
    sempre mai forse dopo prima sopra sotto bene male molto poco troppo adesso domani oggi buongiorno grazie prego
    quando dove perché chi uomo donna ragazzo uovo uomini gnocchi famoso veloce febbre valle bomba campo gamba""",
    "czech": """máma táta babička voda mléko město řeka počasí zítra večer chlapec holka velký bílý rychle kniha dopis
    čas jaro zima léto podzim moře pláž auto cesta vlak nádraží ulice náměstí muzeum člověk lidé práce paměť myslím
    mluvím píšu čtu vidím slyším miluji bydlím běžím lampa ryba chléb máslo víno pivo ovoce jablko banán polévka oběd
    káva most dům pokoj okno dveře stěna stůl postel polštář vítr sníh déšť mlha obloha slunce měsíc hvězda země les
    pole hora ptáček pes kočka medvěd vlk kůň kráva motýl první druhý nový starý dobrý veselý teplý pomalý hezký
    potom společně vždycky nikdy proč možná prosím děkuji můj tvůj náš váš oni my koupil šel zapomněl napsal
    pochopil""",
    "finnish": """äiti isä mummo vesi maito kaupunki joki sää huomenna illalla poika tyttö suuri valkoinen nopea kirja
    kirje aika kevät talvi kesä syksy meri ranta vene auto tie juna asema katu tori museo ihminen työ muisti puhun
    kirjoitan luen näen kuulen rakastan asun menen juoksen lamppu kala leipä voi juusto viini hedelmä omena
    sitruuna banaani ateria kahvi silta talo huone ikkuna ovi seinä pöytä tuoli sänky tyyny tuuli lumi sade pilvi
    taivas aurinko kuu tähti maa metsä pelto vuori lintu koira kissa karhu susi hevonen lehmä perhonen ensimmäinen
    uusi vanha hyvä iloinen lämmin kylmä kaunis tärkeä sitten yhdessä aina miksi ehkä kiitos minun sinun he me""",
    "catalan": """mare pare àvia aigua llet ciutat riu temps demà vespre noi noia gran blanc ràpid llibre carta
    primavera hivern estiu tardor mar platja vaixell cotxe camí tren carrer plaça museu persona feina memòria penso
    parlo escric veig sento visc vaig corro làmpada peix pa mantega formatge vi fruita poma llimona plàtan sopa dinar
    cafè
    pont casa finestra porta paret taula cadira llit coixí vent neu pluja boira núvol cel sol lluna terra bosc camp
    muntanya
    ocell gos gat ós llop cavall vaca papallona primer nou vell bo alegre fred bonic important després sempre mai
    per què potser gràcies meu teu nostre vosaltres ells comprar tornar obrir beure moure bomba home dona""",
}


def _native(language: str, seed: int) -> Iterator[str]:
    rng = random.Random(seed)
    words = WORDS[language].split()
    while True:
        picked = [rng.choice(words) for _ in range(rng.randint(1, 9))]
        if len(picked) > 3 and rng.random() < 0.5:
            picked[rng.randrange(1, len(picked) - 1)] += ","
        yield " ".join(picked) + rng.choice("...?")


def native(language: str) -> Texts:
    """Return the texts of `language`, one of WORDS: a seed gives sentences of one to nine words for ever.

    Raises:
        KeyError: no words of that language are here.
    """
    WORDS[language]
    return partial(_native, language)
